// Tables that are sorted by a click on a column's head: best first, then the other way round.
"use strict";

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const valueOf = (row, column) => {
    const text = row.cells[column]?.dataset.value;
    return text === undefined ? null : Number(text);
  };
  const sort = (column) => {
    const head = heads[column];
    const bestFirst = head.dataset.better === "lower" ? "ascending" : "descending";
    const other = bestFirst === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === bestFirst ? other : bestFirst;
    for (const each of heads) each.hasAttribute("aria-sort") && each.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...body.rows].sort((a, b) => {
      const [left, right] = [valueOf(a, column), valueOf(b, column)];
      // Rows without this figure, and methods that failed, come last.
      if (left === null || right === null) return (left === null) - (right === null);
      return sign * (left - right);
    });
    body.append(...rows);
  };
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => sort(column)));
}
