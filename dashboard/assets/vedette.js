// What runs in the browser: callbacks of the page (dash_clientside.vedette), table cells, ages and keys.
(function () {
  "use strict";

  const keep = () => window.dash_clientside.no_update;
  const triggered = () => window.dash_clientside.callback_context.triggered.map((item) => item.prop_id);
  const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

  function go(path) {
    window.history.pushState({}, "", path);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    window.scrollTo(0, 0);
  }

  function rewriteAddress(change) {
    const address = new URL(window.location.href);
    change(address.searchParams);
    window.history.replaceState(window.history.state, "", address);
  }

  // ---- a server that is away, a session that has ended ----

  const ask = window.fetch.bind(window);
  window.fetch = (...request) => {
    const ours = String((request[0] && request[0].url) || request[0]).includes("_dash-update-component");
    return ask(...request).then(
      (answer) => {
        if (ours && answer.status === 401) window.location.reload();
        if (ours) document.body.dataset.answer = answer.status >= 500 ? "none" : "some";
        return answer;
      },
      (error) => {
        if (ours) document.body.dataset.answer = "none";
        throw error;
      },
    );
  };

  // ---- theme ------------------------------------------------------------------------------------------------------

  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");

  function resolve(choice) {
    return choice === "dark" || (choice !== "light" && prefersDark.matches) ? "dark" : "light";
  }

  prefersDark.addEventListener("change", () => {
    let choice = "system";
    try {
      choice = window.localStorage.getItem("vedette-scheme") || "system";
    } catch (error) {
      return;
    }
    if (window.dash_clientside.set_props) {
      window.dash_clientside.set_props("mantine", { forceColorScheme: resolve(choice) });
      window.dash_clientside.set_props("scheme", { data: resolve(choice) });
    }
  });

  // ---- ages -------------------------------------------------------------------------------------------------------

  function duration(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
    for (let i = 0; i < 3; i += 1) {
      const [name, size] = units[i];
      const [minorName, minorSize] = units[i + 1];
      if (whole >= size) {
        const rest = Math.floor((whole % size) / minorSize);
        return `${Math.floor(whole / size)} ${name}${rest && size > 60 ? ` ${rest} ${minorName}` : ""}`;
      }
    }
    return `${whole} s`;
  }

  function age(iso) {
    const seconds = (Date.now() - Date.parse(iso)) / 1000;
    return Number.isNaN(seconds) ? "" : seconds < 5 ? "just now" : `${duration(seconds)} ago`;
  }

  window.setInterval(() => {
    if (document.hidden) return;
    document.querySelectorAll("time.ago").forEach((element) => {
      const text = age(element.getAttribute("datetime"));
      if (text && element.textContent !== text) element.textContent = text;
    });
  }, 1000);

  // ---- what people may do to alerts ----

  const deeds = {
    acknowledge: {
      title: "Acknowledge %",
      text: "Acknowledging says that somebody is on it. The alert stays listed until it resolves.",
    },
    resolve: {
      title: "Resolve %",
      text: "Resolving closes the incident. If its cause is still there, a new alert opens at the next alarm.",
    },
    false_alarm: {
      title: "Mark % as a false alarm",
      text:
        "Nothing was wrong that is worth an alert. It is resolved, and counts against the model's alarm budget. " +
        "If the same goes on, a new alert opens at the next alarm.",
    },
    real: {
      title: "Mark % as real",
      text: "The alert was right. This is for the record and the alarm budget; the alert itself stays as it is.",
    },
    unmark: {
      title: "Take back the mark on %",
      text: "The alert counts as not judged again. A resolved alert stays resolved.",
    },
  };

  // ---- callbacks --------------------------------------------------------------------------------------------------

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    vedette: {
      tick(_beats, scheme) {
        const { outputs_list: outputs, states_list: states } = window.dash_clientside.callback_context;
        const byClock = triggered().length > 0 && triggered().every((id) => id.startsWith("beat."));
        if (byClock && document.hidden) return outputs.map(keep);
        const dialog = document.getElementById("help");
        if (byClock && dialog && dialog.open) return outputs.map(keep);
        const busy = new Set(states[0].filter((state) => state.value).map((state) => state.id.page));
        const tick = { scheme, origin: window.location.origin, at: Date.now() };
        return outputs.map((output) => (byClock && busy.has(output.id.page) ? keep() : tick));
      },

      scheme(choice) {
        try {
          window.localStorage.setItem("vedette-scheme", choice || "system");
        } catch (error) {
          // A browser without storage keeps the choice until the page is left.
        }
        return [resolve(choice), resolve(choice)];
      },

      title(title, unresolved) {
        document.title = `${unresolved ? `(${unresolved}) ` : ""}${title ? `${title} · ` : ""}Vedette`;
      },

      openDialog(_clicks, targets, person) {
        const context = window.dash_clientside.callback_context;
        const cause = context.triggered[0];
        const ids = (targets || []).find((list) => list && list.length) || [];
        if (!cause || !cause.value || !ids.length) return Array(7).fill(keep());
        const action = JSON.parse(cause.prop_id.slice(0, cause.prop_id.lastIndexOf("."))).action;
        const { title, text } = deeds[action];
        const heading = title.replace("%", plural(ids.length, "alert"));
        return [{ action, ids, at: Date.now() }, true, heading, text, person || "", "", null];
      },

      closeDialog(clicks) {
        return clicks ? false : keep();
      },

      filtersToAddress(status, severity, kind, model, search, verdict) {
        if (window.location.pathname !== "/alerts") return;
        rewriteAddress((query) => {
          const set = (name, value) => (value ? query.set(name, value) : query.delete(name));
          set("status", status === "unresolved" ? "" : status);
          set("severity", (severity || []).join(","));
          set("kind", (kind || []).join(","));
          set("q", search);
          set("verdict", verdict);
          query.delete("model");
          (model || []).forEach((name) => query.append("model", name));
        });
      },

      rangeToAddress(range) {
        if (range) rewriteAddress((query) => query.set("range", range));
      },

      renewFigure(next, shown) {
        if (!next) return keep();
        const axis = shown && shown.layout && shown.layout.xaxis;
        const sameView = axis && shown.layout.uirevision === next.layout.uirevision;
        if (!sameView || axis.autorange !== false || !axis.range) return next;
        const xaxis = { ...next.layout.xaxis, range: axis.range, autorange: false };
        return { ...next, layout: { ...next.layout, xaxis } };
      },

      openVersion(value) {
        if (!value) return;
        const version = value === " " ? "" : value;
        const query = new URLSearchParams(window.location.search);
        if (!query.has("version")) {
          rewriteAddress((own) => own.set("version", version));
        } else if (query.get("version") !== version) {
          query.set("version", version);
          go(`${window.location.pathname}?${query}`);
        }
      },

      selection(rows) {
        const ids = (rows || []).filter((row) => row.status !== "resolved").map((row) => row.id);
        return [ids, `${plural(ids.length, "alert")} selected`, ids.length === 0];
      },

      openRow(cell) {
        if (cell && cell.colId && !cell.colId.startsWith("ag-Grid") && cell.rowId) {
          go(`/alerts/${encodeURIComponent(cell.rowId)}`);
        }
      },

      deselect() {
        const grid = window.dash_ag_grid && document.getElementById("alerts-grid");
        if (!grid) return;
        const api = window.dash_ag_grid.getApi("alerts-grid");
        if (api) api.deselectAll();
      },
    },
  });

  // ---- table cells ------------------------------------------------------------------------------------------------

  const element = (...parts) => window.React.createElement(...parts);
  const cells = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});

  cells.SeverityCell = (props) =>
    element(
      "span",
      { className: `sign sign-${props.data.severity}` },
      element("span", { className: `shape shape-${props.data.severity}`, "aria-hidden": "true" }),
      props.data.severity.charAt(0).toUpperCase() + props.data.severity.slice(1),
    );

  cells.TitleCell = (props) =>
    element(
      "div",
      { className: "cell-title" },
      element(
        "a",
        {
          href: props.data.href,
          className: "row-link",
          title: props.data.title,
          onClick: (event) => {
            if (event.ctrlKey || event.metaKey || event.shiftKey) {
              event.stopPropagation();
              return;
            }
            event.preventDefault();
          },
          onKeyDown: (event) => {
            if (event.key === "Enter") {
              event.preventDefault();
              event.stopPropagation();
              go(props.data.href);
            }
          },
        },
        props.data.title,
      ),
      element("div", { className: "cell-reason", title: props.data.reason }, props.data.reason),
    );

  cells.ModelCell = (props) =>
    element(
      "div",
      { className: "cell-title", title: `${props.data.model}, ${props.data.subject}` },
      element("div", { className: "cell-line" }, props.data.model),
      element("div", { className: "cell-reason" }, props.data.subject),
    );

  cells.StatusCell = (props) =>
    element(
      "div",
      { className: "cell-status" },
      element(
        "span",
        { className: `pill pill-${props.value}` },
        props.value.charAt(0).toUpperCase() + props.value.slice(1),
      ),
      props.data.under ? element("div", { className: "cell-reason" }, props.data.under) : null,
    );

  cells.AgeCell = (props) =>
    element("time", { className: "ago", dateTime: props.value, title: props.value }, age(props.value));

  // ---- keys -------------------------------------------------------------------------------------------------------

  let pending = "";

  function isTyping(target) {
    return target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
  }

  function moveFocus(step) {
    const top = (link) => link.getBoundingClientRect().top;
    const links = Array.from(document.querySelectorAll("#page a.row-link")).sort((a, b) => top(a) - top(b));
    if (!links.length) return;
    const at = links.indexOf(document.activeElement);
    const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + step, 0), links.length - 1);
    links[next].focus();
    links[next].scrollIntoView({ block: "nearest" });
  }

  function focusSearch() {
    const field = document.getElementById("alerts-search");
    if (field) {
      field.focus();
      return true;
    }
    return false;
  }

  function search() {
    if (focusSearch()) return;
    go("/alerts?status=all");
    let tries = 0;
    const timer = window.setInterval(() => {
      tries += 1;
      if (focusSearch() || tries > 40) window.clearInterval(timer);
    }, 50);
  }

  const keys = {
    "g o": () => go("/"),
    "g a": () => go("/alerts"),
    "/": search,
    j: () => moveFocus(1),
    k: () => moveFocus(-1),
    e: () => {
      const button = Array.from(document.querySelectorAll("#page .actions button, #page .toolbar button")).find(
        (item) => item.textContent === "Acknowledge" && item.offsetParent,
      );
      if (button) button.click();
    },
    "?": () => {
      const dialog = document.getElementById("help");
      if (dialog && !dialog.open) dialog.showModal();
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("[role=dialog][aria-modal=true]")?.offsetParent) return;
    const key = pending ? `${pending} ${event.key}` : event.key;
    pending = event.key === "g" && !pending ? "g" : "";
    if (pending) window.setTimeout(() => (pending = ""), 1200);
    const act = keys[key];
    if (act) {
      event.preventDefault();
      act();
    }
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("#help-open")) keys["?"]();
    const dialog = document.getElementById("help");
    if (dialog && dialog.open && event.target === dialog) dialog.close();
  });
})();
