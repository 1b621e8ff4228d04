"""Documents of an audit: the page, the PDF, the CSV and the hub's card, all from its JSON."""

from fairtrigger.auditing.documents.audit_csv import audit_csv, audit_rows
from fairtrigger.auditing.documents.audit_page import render_audit
from fairtrigger.auditing.documents.audit_pdf import audit_pdf
from fairtrigger.auditing.documents.hub_card import hub_card

__all__ = ["audit_csv", "audit_pdf", "audit_rows", "hub_card", "render_audit"]
