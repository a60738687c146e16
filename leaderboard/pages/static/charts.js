// Draws every [data-chart] with Plotly, in the colours of the theme. The content policy forbids
// inline styles: plotly.css stands in for the rules that Plotly would put into the page.
(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const drawn = new Map();

  const colourOf = (trace) =>
    trace.domain ? css(`--d-${trace.domain}`) : css(`--s-${(trace.series ?? 0) % 8}`);

  const styled = (source) => {
    const { domain, series, role, links, ...trace } = source;
    if (role === "front") return { ...trace, line: { color: css("--muted"), width: 1.5, dash: "dot", shape: "hv" } };
    const colour = colourOf(source);
    const extra = { marker: { color: colour, size: 9, line: { color: css("--panel"), width: 1 } } };
    if (trace.type === "bar") extra.marker = { color: colour };
    if (trace.mode?.includes("lines")) extra.line = { color: colour, width: 2 };
    if (trace.type === "scatterpolar") Object.assign(extra, { line: { color: colour, width: 2 }, fillcolor: `${colour}40` });
    if (trace.error_y) extra.error_y = { ...trace.error_y, color: colour, thickness: 1, width: 0 };
    return { ...trace, ...extra };
  };

  const layoutOf = (options, box) => {
    const font = { family: css("--sans"), size: 12, color: css("--ink-soft") };
    const axis = {
      gridcolor: css("--line"), zerolinecolor: css("--line-strong"), linecolor: css("--line-strong"),
      ticks: "outside", tickcolor: css("--line-strong"), automargin: true,
    };
    const layout = {
      font, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 56, r: 12, t: 12, b: 48 },
      height: box.clientHeight, width: box.clientWidth,
      hoverlabel: { bgcolor: css("--panel"), bordercolor: css("--line-strong"), font: { color: css("--ink") } },
      showlegend: Boolean(options.legend),
      legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", font: { ...font, size: 11 } },
      xaxis: { ...axis, title: { text: options.x ?? "" } },
      yaxis: { ...axis, title: { text: options.y ?? "" } },
    };
    if (options.log === "parameters" || options.log === "speed") Object.assign(layout.xaxis, { type: "log", tickformat: "~s", tickvals: ticks(options.values ?? []) });
    if (options.log === "labels") Object.assign(layout.xaxis, { type: "log", tickvals: [1, 5, 10, 20, 100] });
    if (options.polar) layout.polar = {
      bgcolor: "rgba(0,0,0,0)",
      radialaxis: { range: [0, 100], gridcolor: css("--line"), linecolor: css("--line"), tickfont: { size: 10 } },
      angularaxis: { gridcolor: css("--line"), linecolor: css("--line-strong"), tickfont: { size: 11 } },
    };
    return layout;
  };

  // 1, 10, 100, ... and, where that gives few, 2 and 5 between them
  const ticks = (values) => {
    const low = Math.min(...values), high = Math.max(...values);
    if (!(low > 0)) return [];
    const decades = Math.log10(high / low);
    const between = decades > 2.5 ? [1] : decades > 1.2 ? [1, 3] : [1, 2, 3, 5, 7];
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const digit of between) found.push(Number((digit * 10 ** power).toPrecision(6)));
    return found;
  };

  // zero has no place on a logarithmic axis: it stands one decade below the smallest value
  const lifted = (traces, options) => {
    if (options.log !== "parameters") return traces;
    const known = traces.flatMap((trace) => trace.x).filter((x) => x > 0);
    const floor = known.length ? Math.min(...known) / 10 : 1;
    return traces.map((trace) => ({ ...trace, x: trace.x.map((x) => (x > 0 ? x : floor)), customdata: trace.x }));
  };

  const draw = async (box) => {
    try {
      let data = drawn.get(box);
      if (!data) {
        const answer = await fetch(box.dataset.chart);
        if (!answer.ok) throw new Error(answer.status);
        data = await answer.json();
        drawn.set(box, data);
      }
      if (!data.traces.length) {
        box.classList.add("chart-empty");
        box.replaceChildren(Object.assign(document.createElement("p"), { textContent: "Not enough results to draw." }));
        return;
      }
      if (!box.classList.contains("js-plotly-plot")) {
        box.replaceChildren();
        const note = box.parentElement.querySelector("[data-chart-note]");
        if (note) note.textContent = data.layout.title ?? "";
      }
      const traces = lifted(data.traces, data.layout);
      const values = traces.flatMap((trace) => trace.x ?? []);
      await Plotly.react(box, traces.map(styled), layoutOf({ ...data.layout, values }, box), { displayModeBar: false, responsive: false });
      box.removeAllListeners?.("plotly_click");
      box.on("plotly_click", ({ points }) => {
        const link = traces[points[0].curveNumber].links?.[points[0].pointNumber];
        if (link) location.assign(link);
      });
    } catch {
      box.textContent = "The chart could not be loaded; the tables hold the same numbers.";
    }
  };

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { watcher.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "300px" });
  for (const box of document.querySelectorAll("[data-chart]")) watcher.observe(box);

  const again = () => { for (const box of drawn.keys()) draw(box); };
  document.addEventListener("theme-changed", again);
  let timer;
  addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(again, 150); });
})();
