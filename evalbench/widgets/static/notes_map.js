// The map: notes as points, coloured by cluster, hollow where unsure. What it shows is told to a
// screen reader as one image; the list of clusters beside it does all that it does.

const SURE = 0.5; // confidence from which a note is drawn solid
const MARGIN = 22;
const NEAR = 20; // pixels from a point that still hit it
const LONGEST = 34; // characters of a name

class NotesMap {
  constructor(choose, selectWithin) {
    this.choose = choose;
    this.selectWithin = selectWithin;
    this.spots = [];
    this.canvas = make("canvas", { role: "img", "aria-label": "Map of notes", pointerdown: (event) => this.drag(event) });
    this.frame = make("div", { class: "frame", hidden: "" });
    this.element = make("div", { class: "map" }, this.canvas, this.frame);
    this.seen = new ResizeObserver(() => this.shown && this.draw(this.shown));
    this.seen.observe(this.element);
  }

  draw(shown) {
    this.shown = shown;
    const { places, homes, groups, chosen, marked, colour } = shown;
    const [width, height, scale] = [this.element.clientWidth, this.element.clientHeight, window.devicePixelRatio];
    if (!width || !height) return;
    Object.assign(this.canvas, { width: width * scale, height: height * scale });
    const pen = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    const [ink, paper] = ["--ink", "--paper"].map((name) => style.getPropertyValue(name));
    pen.scale(scale, scale);
    const [across, down] = [width / 2 - MARGIN, height / 2 - MARGIN];
    const [wide, high] = [Math.min(across, 1.6 * down), Math.min(down, 1.6 * across)];
    const size = Math.max(1.6, Math.min(4, 60 / Math.sqrt(homes.length + 1)));
    this.spots = [];
    for (let index = 0; index < homes.length; index++) {
      const group = groups[homes[index]];
      if (!group) continue;
      const [x, y, confidence] = places.subarray(3 * index, 3 * index + 3);
      const spot = { index, group, x: width / 2 + x * wide, y: height / 2 + y * high };
      this.spots.push(spot);
      pen.globalAlpha = group === chosen ? 1 : 0.5;
      pen.beginPath();
      pen.arc(spot.x, spot.y, group === chosen ? size + 0.6 : size, 0, 7);
      pen.fillStyle = pen.strokeStyle = colour(group.mode);
      pen.lineWidth = 1.2;
      if (confidence >= SURE) pen.fill();
      else pen.stroke();
      if (!marked.has(index)) continue;
      Object.assign(pen, { strokeStyle: ink, lineWidth: 2 });
      pen.stroke();
    }
    pen.globalAlpha = 1;
    Object.assign(pen, { textAlign: "center", textBaseline: "middle", lineWidth: 4, lineJoin: "round", strokeStyle: paper, fillStyle: ink });
    this.drawNames(pen, style.fontFamily, width);
    const told = groups.filter((group) => group.n_notes).map((group) => `${group.name}: ${group.n_notes}`);
    this.canvas.setAttribute("aria-label", `Map of notes, near ones alike. ${told.join("; ")}`);
  }

  drawNames(pen, family, width) {
    const { groups, chosen } = this.shown;
    const taken = [];
    for (const group of [...groups].sort((one, other) => Number(other === chosen) - Number(one === chosen))) {
      const own = this.spots.filter((spot) => spot.group === group);
      if (!own.length) continue;
      pen.font = `${group === chosen ? 600 : 400} 12px ${family}`;
      const name = group.name.length > LONGEST ? `${group.name.slice(0, LONGEST - 1)}\u2026` : group.name;
      const half = pen.measureText(name).width / 2;
      const top = own.reduce((best, spot) => (spot.y < best.y ? spot : best));
      const [x, y] = [Math.max(half + 4, Math.min(width - half - 4, top.x)), Math.max(10, top.y - 12)];
      const meets = (other) => Math.abs(x - other.x) < half + other.half && Math.abs(y - other.y) < 16;
      if (taken.some(meets)) continue; // the list has its name too
      taken.push({ x, y, half });
      pen.strokeText(name, x, y);
      pen.fillText(name, x, y);
    }
  }

  drag({ offsetX: x, offsetY: y, pointerId }) {
    // A click chooses a cluster; a frame selects notes of the one that is chosen.
    this.canvas.setPointerCapture(pointerId);
    const area = ({ offsetX, offsetY }) => [Math.min(x, offsetX), Math.min(y, offsetY), Math.max(x, offsetX), Math.max(y, offsetY)];
    const move = (event) => {
      const [left, top, right, bottom] = area(event);
      this.frame.hidden = right - left + bottom - top < 6;
      const box = { left, top, width: right - left, height: bottom - top };
      for (const [name, value] of Object.entries(box)) this.frame.style[name] = `${value}px`;
    };
    const up = (event) => {
      this.canvas.removeEventListener("pointermove", move);
      if (this.frame.hidden) return this.chooseAt(x, y);
      this.frame.hidden = true;
      const [left, top, right, bottom] = area(event);
      const inside = this.spots.filter((spot) => spot.x >= left && spot.x <= right && spot.y >= top && spot.y <= bottom);
      this.selectWithin(new Set(inside.map((spot) => spot.index)));
    };
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", up, { once: true });
  }

  chooseAt(x, y) {
    const far = (spot) => Math.hypot(spot.x - x, spot.y - y);
    const nearest = this.spots.reduce((best, spot) => (!best || far(spot) < far(best) ? spot : best), null);
    if (nearest && far(nearest) < NEAR) this.choose(nearest.group.mode);
  }
}

