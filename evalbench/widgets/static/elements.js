// What every desk is made of. Python joins this file and those of a widget into one module.

const SEVERITIES = ["safety", "user impact", "polish"];
const LAB = ".jp-NotebookPanel";

const count = (number) => number.toLocaleString("en-US");
const plural = (number, one) => `${count(number)} ${one}${number === 1 ? "" : "s"}`;

// Keeps data-theme of an element at the theme of the page; gives what ends it.
function followTheme(root) {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const inLab = document.querySelector(LAB) !== null;
  const isDark = () => (inLab ? document.body.dataset.jpThemeLight === "false" : dark.matches);
  const paint = () => (root.dataset.theme = isDark() ? "dark" : "light");
  dark.addEventListener("change", paint);
  const watcher = new MutationObserver(paint);
  watcher.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  paint();
  return () => {
    dark.removeEventListener("change", paint);
    watcher.disconnect();
  };
}

// scrollIntoView would move the notebook too.
function keepInView(list, row) {
  const [outer, inner] = [list, row].map((each) => each.getBoundingClientRect());
  list.scrollTop += Math.min(0, inner.top - outer.top) + Math.max(0, inner.bottom - outer.bottom);
}

// What was typed, in the browser's own store: it outlives a reload, a crash, and the server.
class Kept {
  constructor({ queue, surface, annotator }) {
    this.home = `evalbench ${surface} ${queue} ${annotator} `;
  }

  get(name) {
    try {
      return JSON.parse(localStorage.getItem(this.home + name));
    } catch {
      return null;
    }
  }

  put(name, value) {
    try {
      localStorage.setItem(this.home + name, JSON.stringify(value));
    } catch {
      // A store that is full or forbidden keeps nothing; the page still does.
    }
  }

  drop(name) {
    try {
      localStorage.removeItem(this.home + name);
    } catch {
      // As above.
    }
  }
}
