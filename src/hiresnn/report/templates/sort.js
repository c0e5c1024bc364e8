"use strict";
for (const table of document.querySelectorAll(".sortable table")) {
  const body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.innerText.trim().toLowerCase();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numbers = body.rows[0].cells[column].dataset.value !== undefined;
      const before = head.getAttribute("aria-sort");
      const falling = before ? before === "ascending" : numbers;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => {
        const [left, right] = [value(a, column), value(b, column)];
        if (left === null || right === null) return (left === null) - (right === null);
        return falling ? order(right, left) : order(left, right);
      });
      body.append(...rows);
    });
  });
}
