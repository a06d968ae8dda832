/* A model from a person's own file: name, file, and for a backbone its architecture. The job that
   reads it is shown where matches are shown. */
const { h, on, select, call } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);

function say(text, wrong = false) {
  part("said").textContent = text;
  part("said").classList.toggle("wrong", wrong);
}

async function names() {
  try {
    const { names } = await call(server.addable);
    part("names").replaceChildren(...names.map((name) => h("option", { value: name })));
  } catch (error) {
    say(`${error.message} ${error.hint ?? ""}`, true);
  }
}

element.querySelector("details").addEventListener("toggle", (event) => {
  if (event.target.open) names();
});
on("models-changed", () => element.querySelector("details").open && names());

element.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  part("add").disabled = true;
  try {
    const request = {
      name: part("name").value.trim(),
      file: part("file").value.trim(),
      backbone: part("backbone").value.trim(),
    };
    const { job } = await call(server.add, request);
    say("It is being read; see the progress beside.");
    select({ job });
  } catch (error) {
    say(`${error.message} ${error.hint ?? ""}`, true);
  } finally {
    part("add").disabled = false;
  }
});
