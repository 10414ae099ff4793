// Appended to a page under test: waits until charts are drawn, then writes what it measured into the title.
"use strict";
(function () {
  function boxes() {
    const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node; (node = walk.nextNode());) {
      if (!node.textContent.trim() || ["SCRIPT", "STYLE"].includes(node.parentElement.tagName)) continue;
      let clip = null, fixed = false;
      for (let e = node.parentElement; e; e = e.parentElement) {
        const style = getComputedStyle(e);
        if (style.display === "none" || style.visibility === "hidden" || style.opacity === "0") { clip = "gone"; break; }
        if (style.position === "sticky") fixed = true;
        if (style.overflowX !== "visible" || style.overflowY !== "visible") {
          const b = e.getBoundingClientRect();
          clip = clip ? {left: Math.max(clip.left, b.left), top: Math.max(clip.top, b.top), right: Math.min(clip.right, b.right), bottom: Math.min(clip.bottom, b.bottom)} : {left: b.left, top: b.top, right: b.right, bottom: b.bottom};
        }
      }
      if (clip === "gone") continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const r of range.getClientRects()) {
        let b = {left: r.left, top: r.top, right: r.right, bottom: r.bottom};
        if (clip) b = {left: Math.max(b.left, clip.left), top: Math.max(b.top, clip.top), right: Math.min(b.right, clip.right), bottom: Math.min(b.bottom, clip.bottom)};
        if (b.right - b.left > 1 && b.bottom - b.top > 1) found.push({...b, text: node.textContent.trim().slice(0, 40), node: node, fixed: fixed});
      }
    }
    return found;
  }
  function overlaps(found) {
    const bad = [];
    found.sort((a, b) => a.top - b.top);
    for (let i = 0; i < found.length; i++)
      for (let j = i + 1; j < found.length && found[j].top < found[i].bottom; j++) {
        const a = found[i], b = found[j];
        if (a.node === b.node || a.fixed !== b.fixed) continue;  // a sticky name covers what scrolls below it
        const w = Math.min(a.right, b.right) - Math.max(a.left, b.left), h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        const lower = Math.min(a.bottom - a.top, b.bottom - b.top);
        if (w > 1.5 && h > 0.25 * lower) bad.push(a.text + " | " + b.text);  // line boxes of one paragraph touch
      }
    return bad;
  }
  function report() {
    const found = boxes(), width = document.documentElement.clientWidth;
    const canvas = [...document.querySelectorAll(".chart canvas")];
    document.title = JSON.stringify({
      texts: found.length, overlaps: overlaps(found), drawn: document.documentElement.dataset.drawn || "no",
      charts: document.querySelectorAll(".chart").length, canvases: canvas.length,
      inked: canvas.filter(c => { const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data; for (let i = 3; i < d.length; i += 4) if (d[i]) return true; return false; }).length,
      beyond: found.filter(b => b.right > width + 1).map(b => b.text), width: width, wide: document.documentElement.scrollWidth,
      requests: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
      paper: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color,
    });
  }
  window.addEventListener("load", () => setTimeout(report, 300));
})();
