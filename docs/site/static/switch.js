// Fills the list of versions from versions.js, which lies beside the folders of the versions; without it, this one stays.
{
  const list = document.getElementById("versions");
  const { version, page, root } = list.dataset;
  const known = typeof VERSIONS === "undefined" ? {} : VERSIONS;
  if (version in known) {
    list.replaceChildren(...Object.keys(known).map((name) => new Option(name, name, name === version, name === version)));
  }
  list.addEventListener("change", () => {
    const chosen = list.value;
    location.href = `${root}../${chosen}/${known[chosen].includes(page) ? page : "README.html"}`;
  });
}
