// Draws every <div class="chart" data-chart="N"> of the page from the list of specifications in #charts.
// A specification: {x, xlabel, series: [{label, values, dash, points}], range, format}. No request leaves the page.
"use strict";
(function () {
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const made = [];
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const formats = {
    share: v => v == null ? "–" : v.toFixed(3),
    number: v => v == null ? "–" : Number(v.toPrecision(4)).toString(),
    megabytes: v => v == null ? "–" : v.toFixed(1) + " MB",
    count: v => {
      if (v == null) return "–";
      for (const [size, letter] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"]])
        if (v >= size) return Number((v / size).toPrecision(4)) + " " + letter;
      return String(Math.round(v));
    },
  };
  function draw(box) {
    const spec = specs[box.dataset.chart], show = formats[spec.format] || formats.number, width = box.clientWidth;
    const ink = css("--soft"), line = css("--line"), font = "12px system-ui, 'DejaVu Sans', sans-serif";
    const axis = {stroke: ink, grid: {stroke: line, width: 1}, ticks: {stroke: line, width: 1}, font: font, labelFont: font};
    const few = spec.whole && spec.x.length < 12;
    const options = {
      width: width, height: 280, cursor: {drag: {x: true, y: false}}, legend: {live: true},
      scales: {x: {time: false, range: spec.x.length === 1 ? [spec.x[0] - 1, spec.x[0] + 1] : undefined},
               y: {range: spec.range || ((u, low, high) => high > low ? [Math.min(low, 0), high * 1.06] : [0, (high || 1) * 1.2])}},
      axes: [
        Object.assign({label: spec.xlabel, labelSize: 22, space: 55, values: (u, vs) => vs.map(v => formats.count(v)),
                       splits: few ? () => spec.x : undefined}, axis),
        Object.assign({size: 62, space: 32, values: (u, vs) => vs.map(v => spec.format === "share" ? String(Number(v.toFixed(2))) : show(v).replace(" MB", ""))}, axis),
      ],
      series: [{label: spec.xlabel, value: (u, v) => v == null ? "–" : formats.count(v)}].concat(spec.series.map((s, i) => ({
        label: s.label, stroke: css("--c" + (s.color == null ? i % 8 : s.color)), width: s.dash ? 1.5 : 2,
        dash: s.dash ? [6, 4] : i >= 8 ? [2, 3] : undefined, points: {show: !!s.points && spec.x.length <= 40, size: 6}, spanGaps: true,
        value: (u, v) => show(v),
      }))),
    };
    const u = new uPlot(options, [spec.x].concat(spec.series.map(s => s.values)), box);
    made.push([box, u]);
  }
  function all() {
    for (const [box, u] of made.splice(0)) { u.destroy(); box.textContent = ""; }
    document.querySelectorAll(".chart").forEach(draw);
    document.documentElement.dataset.drawn = "yes";
  }
  let wait = 0;
  const later = () => { clearTimeout(wait); wait = setTimeout(all, 120); };
  let width = window.innerWidth;
  window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; later(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later);
  all();
})();
