"use strict";
document.documentElement.classList.add("js");
(function () {
  const lang = document.documentElement.lang;
  const locale = lang === "tr" ? "tr-TR" : "en-US";
  const number = (v, d) => new Intl.NumberFormat(locale, { minimumFractionDigits: d, maximumFractionDigits: d }).format(v).replace("-", "\u2212");
  const percent = (v, d) => lang === "tr" ? (v < 0 ? "\u2212" : "") + "%" + number(Math.abs(v) * 100, d) : number(v * 100, d) + "%";
  const money = (v, c) => number(v, Math.abs(v) >= 100 ? 0 : v !== 0 && Math.abs(v) < 0.1 ? 4 : 2) + " " + c;
  const decimals = (v) => { const s = Math.abs(v); return s > 0 && s < 0.1 ? 4 : s < 10 ? 2 : s < 100 ? 1 : 0; };

  // One of the plots at a time.
  document.querySelectorAll("[data-panes]").forEach((box) => {
    const show = () => {
      const wanted = box.querySelector("input[type=radio]:checked").value;
      document.querySelectorAll("[data-pane-of='" + box.dataset.panes + "']").forEach((p) => { p.hidden = p.dataset.pane !== wanted; });
    };
    box.addEventListener("change", show);
    show();
  });

  // Hovering or focusing a point shows its row of the table.
  const tip = document.createElement("div");
  tip.className = "tip"; tip.hidden = true; tip.setAttribute("role", "status");
  document.body.append(tip);
  const rowOf = (point) => [...point.closest("article").querySelectorAll("table.results tbody tr")].find((r) => r.dataset.id === point.dataset.id);
  const showTip = (point) => {
    const row = rowOf(point);
    if (!row) { return; }
    tip.replaceChildren();
    const name = document.createElement("b");
    name.textContent = point.dataset.id;
    tip.append(name);
    const heads = row.closest("table").querySelectorAll("thead th");
    [...row.children].forEach((cell, i) => {
      if (i === 0 || !cell.dataset.tip) { return; }
      const line = document.createElement("div"), key = document.createElement("span"), value = document.createElement("span");
      key.textContent = heads[i].textContent; value.textContent = cell.textContent.replace(/\s+/g, " ").trim();
      line.append(key, value); tip.append(line);
    });
    row.classList.add("lit"); tip.hidden = false;
    const at = point.querySelector(".mark").getBoundingClientRect(), size = tip.getBoundingClientRect();
    tip.style.left = Math.max(6, Math.min(at.right + 10, window.innerWidth - size.width - 6)) + "px";
    tip.style.top = Math.max(6, Math.min(at.top - 10, window.innerHeight - size.height - 6)) + "px";
  };
  const hideTip = (point) => { tip.hidden = true; const row = rowOf(point); if (row) { row.classList.remove("lit"); } };
  document.querySelectorAll("svg .point").forEach((p) => {
    ["mouseenter", "focus"].forEach((e) => p.addEventListener(e, () => showTip(p)));
    ["mouseleave", "blur"].forEach((e) => p.addEventListener(e, () => hideTip(p)));
  });
  document.addEventListener("keydown", (e) => { if (e.key === "Escape") { tip.hidden = true; } });

  // What is cut off at the right edge fades there until one scrolls to it.
  document.querySelectorAll(".scroll, .plotbox").forEach((box) => {
    const mark = () => box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
    box.addEventListener("scroll", mark, { passive: true });
    new ResizeObserver(mark).observe(box);
  });

  // Tables sort by a click on a heading.
  document.querySelectorAll("table.sortable thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button"; button.append(...head.childNodes); head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      const table = head.closest("table"), body = table.tBodies[0], index = [...head.parentNode.children].indexOf(head);
      table.querySelectorAll("thead th").forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => { const d = row.children[index].querySelector("data"); return d ? Number(d.value) : null; };
      const sign = down ? -1 : 1;
      [...body.rows].sort((a, b) => {
        if (index === 0) { return sign * a.dataset.id.localeCompare(b.dataset.id, locale); }
        const x = key(a), y = key(b);
        return x === null ? 1 : y === null ? -1 : sign * (x - y);
      }).forEach((row) => body.append(row));
    });
  });

  // Costs for another volume and other prices: the same arithmetic as imbik.roi.
  const needed = (rates, rate, least) => {
    for (let n = 0; n < rates.length; n++) { if (rate <= rates[n] * (1 + 1e-9)) { return Math.max(n + 1, least); } }
    const last = rates.length ? rates[rates.length - 1] : 0;
    return last > 0 ? Math.max(Math.ceil(rate / last * rates.length - 1e-9), least) : null;
  };
  const alwaysOn = (o, mode, volume, factor) => {
    const count = needed(o.rates, volume * mode.peak / 86400, mode.least);
    return count === null ? null : { count, yearly: count * o.yearly * factor, capacity: o.rates[0], million: o.per_million === null ? null : o.per_million * factor, instance: o.instance };
  };
  const batch = (o, mode, volume, factor) => {
    const each = o.rates[0], window = o.window_s - o.cold_s;
    if (window <= 0) { return null; }
    const count = Math.max(Math.ceil(volume / each / window - 1e-9), mode.least);
    const seconds = volume / each / count + o.cold_s;
    const hours = count * Math.ceil(seconds / o.billing_s - 1e-9) * o.billing_s / 3600 * 365;
    return { count, yearly: hours * o.hourly * factor, capacity: each, million: o.per_million * factor, instance: o.instance };
  };
  const cheapest = (row, name, mode, volume, factor) => row.options.map((o) => (name === "batch" ? batch : alwaysOn)(o, mode, volume, factor))
    .filter((c) => c !== null).sort((a, b) => a.yearly - b.yearly || a.count - b.count || (a.million || 0) - (b.million || 0))[0] || null;
  const put = (cell, value, text) => {
    const data = cell.querySelector("data");
    if (!data) { return; }
    data.value = String(value); data.textContent = text;
  };
  document.querySelectorAll("section.roi").forEach((section) => {
    const all = JSON.parse(section.querySelector("script[type='application/json']").textContent);
    section.querySelectorAll(".pane").forEach((pane) => {
      const name = pane.dataset.pane, mode = all.modes[name];
      const volume = pane.querySelector("[name=volume]"), slider = pane.querySelector("[name=volume-slider]");
      const price = pane.querySelector("[name=price]"), shown = pane.querySelector("output");
      const update = () => {
        const v = Number(volume.value), f = Number(price.value);
        if (!(v > 0) || !(f > 0)) { return; }
        shown.textContent = percent(f, 0);
        const found = new Map(mode.rows.map((row) => [row.id, cheapest(row, name, mode, v, f)]));
        const base = found.get(all.baseline);
        pane.querySelectorAll("tbody tr").forEach((tr) => {
          const c = found.get(tr.dataset.id), cell = (key) => tr.querySelector("[data-cell=" + key + "]");
          if (!c || !cell("count")) { return; }
          put(cell("count"), c.count, number(c.count, 0));
          const machine = cell("count").querySelector("code");
          if (machine) { machine.textContent = c.instance; }
          put(cell("capacity"), c.capacity, number(c.capacity, decimals(c.capacity)) + (lang === "tr" ? "/sn" : "/s"));
          put(cell("yearly"), c.yearly, money(c.yearly, all.currency));
          if (c.million !== null) { put(cell("per_million"), c.million, money(c.million, all.currency)); }
          if (base) {
            put(cell("saved"), base.yearly - c.yearly, money(base.yearly - c.yearly, all.currency));
            put(cell("share"), base.yearly ? 1 - c.yearly / base.yearly : 0, percent(base.yearly ? 1 - c.yearly / base.yearly : 0, 1));
          }
        });
      };
      const round = (v) => { const p = Math.pow(10, Math.floor(Math.log10(v)) - 1); return Math.round(v / p) * p; };
      slider.addEventListener("input", () => { volume.value = round(Math.pow(10, Number(slider.value))); update(); });
      volume.addEventListener("input", () => { if (Number(volume.value) > 0) { slider.value = Math.log10(Number(volume.value)); } update(); });
      price.addEventListener("input", update);
    });
  });
})();
