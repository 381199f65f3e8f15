// The list of jobs: asks anew while the page is looked at. What the server sends is its own HTML with
// everything escaped; nothing is made into HTML here.
const list = document.getElementById("list");
const places = { running: document.getElementById("now"), table: document.getElementById("table") };

async function look() {
  let pause = 5000;
  try {
    const answer = await fetch(list.dataset.live, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const told = await answer.json();
    for (const [name, place] of Object.entries(places)) {
      // Who has reached a link in it by keyboard must not lose it.
      if (!place.contains(document.activeElement)) place.innerHTML = told[name];
    }
    if (told.busy) pause = 2000;
  } catch {
    // the server is away or starts anew
  }
  setTimeout(look, document.hidden ? 10000 : pause);
}

setTimeout(look, 2000);
