/** Copy the command beside a button; where the browser does not allow that, select it. */
async function copyCommand(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    say(button, "Copied");
  } catch {
    getSelection().selectAllChildren(code);
    say(button, "Selected");
  }
}

function say(button, text) {
  document.getElementById("said").textContent = text;
  button.textContent = text;
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}
