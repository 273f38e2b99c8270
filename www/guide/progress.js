// @ts-check
// What has been read: a mark in the contents beside each such chapter, kept in this browser. A chapter has been read
// when its heading has been on the screen and its end stays there for a moment. Scrolling past it is not enough.

import { find, make } from "../dom.js";

const KEPT = "threadchat: read in the guide";
const MOMENT = 2000; // milliseconds

const contents = find(document, "#contents");
const chapters = [...document.querySelectorAll("main > section")].filter((section) => section.querySelector(".pause"));
const summary = make("p", { class: "progress" });
const kept = load();
/** The ends that are on the screen now, each with its timer. @type {Map<Element, number>} */
const staying = new Map();

/** What is kept, as two lists of ids. Without storage, or with nonsense in it, nothing. */
function load() {
  try {
    const { begun, read } = JSON.parse(localStorage.getItem(KEPT) ?? "");
    return { begun: new Set(begun), read: new Set(read) };
  } catch {
    return { begun: new Set(), read: new Set() };
  }
}

function save() {
  try {
    localStorage.setItem(KEPT, JSON.stringify({ begun: [...kept.begun], read: [...kept.read] }));
  } catch {
    // Forbidden, or full: then it is known until the page is left.
  }
}

/** @param {Element} chapter */
function idOf(chapter) {
  return chapter.getAttribute("aria-labelledby") ?? "";
}

function show() {
  for (const chapter of chapters) {
    const link = find(contents, `a[href="#${idOf(chapter)}"]`);
    const mark = link.querySelector(".read");
    if (kept.read.has(idOf(chapter)) === Boolean(mark)) continue;
    if (mark) mark.remove();
    else link.append(make("span", { class: "read" }, make("span", { class: "unseen" }, " (read)")));
  }
  const unread = chapters.find((chapter) => !kept.read.has(idOf(chapter)));
  const known = chapters.filter((chapter) => kept.read.has(idOf(chapter))).length;
  summary.hidden = !known;
  const next = unread
    ? ["Go on with ", make("a", { href: `#${idOf(unread)}` }, find(unread, "h2").textContent), ". "]
    : [];
  const forget = make("button", { type: "button", onclick: forgetAll }, "Forget what I have read");
  summary.replaceChildren(`You have read ${known} of ${chapters.length} chapters. `, ...next, forget);
}

function forgetAll() {
  kept.begun.clear();
  kept.read.clear();
  save();
  show();
  contents.focus(); // the button has gone
}

const onScreen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    const id = idOf(/** @type {Element} */ (target.closest("main > section")));
    clearTimeout(staying.get(target));
    if (!isIntersecting) continue;
    if (target.matches("h2")) kept.begun.add(id);
    else staying.set(target, setTimeout(() => markAsRead(id), MOMENT));
  }
  save();
});

/** @param {string} id */
function markAsRead(id) {
  if (!kept.begun.has(id)) return;
  kept.read.add(id);
  save();
  show();
}

contents.append(summary);
show();
for (const chapter of chapters) {
  onScreen.observe(find(chapter, "h2"));
  onScreen.observe(find(chapter, ".pause"));
}
