// What is shown, as files: a table as CSV, a document as JSON.

/** Save texts and nodes in columns and rows as the table shows them. */
export const saveTable = (caption, columns, rows) =>
  save(`${fileName(caption)}.csv`, "text/csv", [columns, ...rows].map((row) => row.map(cellOf).join(",") + "\r\n").join(""));

export const saveDocument = (name, document) =>
  save(`${fileName(name)}.json`, "application/json", `${JSON.stringify(document, null, 1)}\n`);

/** One cell, quoted. Group names come from clients: none of them becomes a formula of a spreadsheet. */
function cellOf(cell) {
  const text = cell?.textContent ?? String(cell ?? "");
  return `"${(/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

const fileName = (text) => text.toLowerCase().split(/[;,]/)[0].replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-|-$/g, "").slice(0, 80);

function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
