// Runs before anything is drawn, so that the page never flashes in the other theme.
{
  let theme = "auto";
  try {
    theme = JSON.parse(localStorage.getItem("turnledger.preferences") ?? "{}").theme ?? "auto";
  } catch {
    // Storage that is closed or spoilt means no preference.
  }
  document.documentElement.dataset.theme = theme;
}
