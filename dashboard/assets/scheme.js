// Runs before the first paint, so that a dark page does not flash white.
(function () {
  "use strict";
  let choice = "system";
  try {
    choice = window.localStorage.getItem("vedette-scheme") || "system";
  } catch (error) {
    choice = "system";
  }
  const dark = choice === "dark" || (choice !== "light" && window.matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
