"use strict";
// The list of pairs. All text comes from a JSON block and reaches the page through textContent.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("pairs-data");
  const PAGE = 50;
  const NAMES = { misfire: "misfire", reverse: "reverse", both_right: "both right", both_wrong: "both wrong", unscored: "not scored" };
  const VERDICTS = Object.keys(NAMES);
  const form = document.getElementById("filters");
  const list = document.getElementById("pairs");
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  const FIELDS = ["run", "category", "priming", "outcome", "low", "high", "search", "sort"];
  const defaults = Object.fromEntries(FIELDS.map((name) => [name, form.elements[name] ? form.elements[name].value : ""]));
  let shown = [], n = 0;

  // Rows come as columns; null margins stay null.
  const rows = data.rows.map(([run, pair, priming, verdict, answers, margins, texts]) => ({
    run, pair: data.pairs[pair], priming, verdict: VERDICTS[verdict], answers, margins, texts: texts || [null, null],
  }));

  // Signs that turn the writing around, or cannot be seen, are spelled out.
  const visible = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (sign) => `‹U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}›`);

  const make = (tag, text, kind) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = visible(String(text));
    if (kind) node.className = kind;
    return node;
  };

  const number = (value) => value === null ? "–" : value.toFixed(2).replace("-", "−");
  const side = (pair, which) => (pair.text || []).map((run) => typeof run === "string" ? run : run[which]).join("");

  const found = (row, words) => {
    const pair = row.pair;
    if (pair.words === undefined) pair.words = [pair.name, side(pair, 0), side(pair, 1)].join("\n").toLowerCase();
    return words.every((word) => pair.words.includes(word));
  };

  const state = () => Object.fromEntries(FIELDS.map((name) => [name, form.elements[name] ? form.elements[name].value : ""]));

  const ORDERS = {
    margin: (row) => row.margins[0] === null ? Infinity : row.margins[0],
    gap: (row) => row.margins[0] === null || row.margins[1] === null ? Infinity : row.margins[0] - row.margins[1],
    pair: () => 0,
  };

  const filtered = (wanted) => {
    const words = wanted.search.toLowerCase().split(/\s+/).filter(Boolean);
    const low = wanted.low === "" ? -Infinity : Number(wanted.low);
    const high = wanted.high === "" ? Infinity : Number(wanted.high);
    const bounded = wanted.low !== "" || wanted.high !== "";
    const kept = rows.filter((row) =>
      (wanted.run === "" || row.run === Number(wanted.run)) &&
      (wanted.category === "" || row.pair.category === Number(wanted.category)) &&
      (wanted.priming === "" || row.priming === Number(wanted.priming)) &&
      (wanted.outcome === "" || row.verdict === wanted.outcome) &&
      (!bounded || (row.margins[0] !== null && row.margins[0] >= low && row.margins[0] <= high)) &&
      found(row, words));
    const order = ORDERS[wanted.sort] || ORDERS.margin;
    // Infinity minus itself is no number; equal keys keep the order of the suite.
    return kept.sort((one, other) => (order(one) === order(other) ? 0 : order(one) - order(other)));
  };

  const prompt = (row, which) => {
    const block = make("div", undefined, "prompt");
    const expected = row.pair.expected[which];
    const answer = row.answers[which] === null ? "no answer" : row.answers[which];
    const right = row.answers[which] === null ? "not scored" : answer === expected ? "right" : "wrong";
    block.append(make("h3", which === 0 ? "Stereotyped" : "Contrast"));
    const cue = data.primings[row.priming].sides[which] ? row.pair.cues[row.priming] : null;
    if (cue) block.append(make("p", cue, "cue"));
    if (row.pair.text) {
      const text = make("p", undefined, "text");
      text.dir = "auto";
      for (const run of row.pair.text) {
        if (typeof run === "string") text.append(visible(run));
        else if (run[which]) {
          const words = run[which].trimEnd();
          text.append(make("mark", words), run[which].slice(words.length));
        }
      }
      block.append(text);
    }
    const fact = make("p", undefined, "answer");
    fact.append("Answer ", make("strong", answer), `, expected ${visible(expected)}: `, make("span", right, right),
      `. Margin ${number(row.margins[which])}.`);
    block.append(fact);
    if (row.texts[which]) block.append(make("h3", "It wrote"), make("p", row.texts[which], "text written"));
    return block;
  };

  const entry = (row) => {
    const item = document.createElement("details");
    const head = make("summary");
    head.append(make("span", NAMES[row.verdict], `tag ${row.verdict}`), make("span", row.pair.name, "name"));
    const where = [data.categories[row.pair.category], data.primings[row.priming].name];
    if (data.runs.length > 1) where.push(data.runs[row.run]);
    head.append(make("span", where.join(" · "), "where"));
    head.append(make("span", `${number(row.margins[0])} / ${number(row.margins[1])}`, "margins"));
    item.append(head);
    item.addEventListener("toggle", () => {
      if (!item.open || item.childElementCount > 1) return;
      if (row.pair.groups) item.append(make("p", `Groups: ${row.pair.groups[0]} / ${row.pair.groups[1]}`, "groups"));
      const both = make("div", undefined, "both");
      both.append(prompt(row, 0), prompt(row, 1));
      item.append(both);
      // Only what scrolls needs the keyboard.
      for (const text of both.querySelectorAll(".text")) if (text.scrollHeight > text.clientHeight) text.tabIndex = 0;
    });
    return item;
  };

  const grow = () => {
    const part = shown.slice(n, n + PAGE);
    n += part.length;
    list.append(...part.map(entry));
    more.hidden = n >= shown.length;
    more.textContent = `Show ${Math.min(PAGE, shown.length - n)} more`;
  };

  const update = (remember) => {
    const wanted = state();
    shown = filtered(wanted);
    n = 0;
    list.replaceChildren();
    count.textContent = `${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
    grow();
    if (!remember) return;
    const told = FIELDS.filter((name) => wanted[name] !== defaults[name]).map((name) => [name, wanted[name]]);
    const kept = new URLSearchParams(told).toString();
    history.replaceState(null, "", kept ? `#${kept}` : "#explorer");
  };

  const restore = () => {
    const words = location.hash.slice(1);
    if (!words.includes("=")) return false;
    const told = new URLSearchParams(words);
    for (const name of FIELDS) {
      const field = form.elements[name];
      if (field) field.value = told.has(name) ? told.get(name) : defaults[name];
      if (field && field.selectedIndex === -1) field.value = defaults[name];
    }
    return true;
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => update(true));
  document.getElementById("reset").addEventListener("click", () => {
    for (const name of FIELDS) if (form.elements[name]) form.elements[name].value = defaults[name];
    update(true);
  });
  more.addEventListener("click", () => {
    const place = n;
    grow();
    list.children[place].firstElementChild.focus();
  });
  window.addEventListener("hashchange", () => { if (restore()) update(false); });

  // Paper shows what a screen folds: the charts of other primings, and the numbers beside the charts.
  const folded = document.querySelectorAll("details.primed, details.numbers");
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...folded].filter((each) => !each.open);
    for (const each of closed) each.open = true;
  });
  window.addEventListener("afterprint", () => { for (const each of closed) each.open = false; });

  const linked = restore();
  update(false);
  if (linked) document.getElementById("explorer").scrollIntoView();
})();
