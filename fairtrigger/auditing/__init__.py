"""Audits: every fairness figure of a file's decisions or a service's counts, as pages that can be checked."""

from fairtrigger.auditing.audit import TEMPLATES, AuditReport, audit
from fairtrigger.auditing.audit_signature import AuditCheck, check_audit, require_holding

__all__ = ["TEMPLATES", "AuditCheck", "AuditReport", "audit", "check_audit", "require_holding"]
