// Runs before the first paint, so that a dark page does not flash white: neither now nor when Mantine mounts, which reads
// the scheme it starts with from its own key.
(function () {
  "use strict";
  let choice = "system";
  try {
    choice = window.localStorage.getItem("vedette-scheme") || "system";
    window.localStorage.setItem("mantine-color-scheme-value", choice === "system" ? "auto" : choice);
  } catch (error) {
    choice = "system";
  }
  const dark = choice === "dark" || (choice !== "light" && window.matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
