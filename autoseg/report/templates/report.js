"use strict";
// Sorts a table by the column whose heading is pressed; cells carry their exact number in data-value.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.querySelectorAll("thead th")];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      const content = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const numeric = rows.some((row) => row.cells[column].dataset.value);
      rows.sort((one, other) => {
        const [a, b] = [content(one), content(other)];
        if (!numeric) return (descending ? -1 : 1) * a.localeCompare(b, undefined, { numeric: true });
        if (a === "" || b === "") return (a === "") - (b === ""); // what does not exist stays at the end
        return (descending ? -1 : 1) * (Number(a) - Number(b));
      });
      table.tBodies[0].append(...rows);
    });
  });
}
// Paper cannot be unfolded.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
