const specs = JSON.parse(document.getElementById("specs").textContent);
const themes = JSON.parse(document.getElementById("themes").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
let views = [];

// Charts take the colors of the page, now and when the reader's preference changes.
async function draw() {
  const theme = dark.matches ? "dark" : "light";
  for (const view of views) view.finalize();
  views = [];
  for (const place of document.querySelectorAll("[data-spec]")) {
    const spec = structuredClone(specs[place.dataset.spec]);
    const options = { config: themes[theme], actions: false, renderer: "svg", tooltip: { theme } };
    views.push(await vegaEmbed(place, spec, options));
  }
  document.documentElement.dataset.drawn = `${views.length} ${theme}`;
}

let drawing = draw();
dark.addEventListener("change", () => { drawing = drawing.then(draw); });
