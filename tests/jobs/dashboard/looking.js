// What a reader with weak sight needs: called by test_for_everybody.py in the page.
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  function rgba(colour) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
  }

  function over([r, g, b, a], under) {
    return [r, g, b].map((part, i) => part * a + under[i] * (1 - a));
  }

  function ground(element) {
    if (!element) return [1, 1, 1];
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, ground(element.parentElement));
  }

  function light(colour) {
    const [r, g, b] = colour.map((part) =>
      part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4,
    );
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function contrast(element) {
    const under = ground(element);
    const style = getComputedStyle(element);
    const ink = over(rgba(element instanceof SVGElement ? style.fill : style.color), under);
    const [low, high] = [light(ink), light(under)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  }

  const shown = [...document.querySelectorAll("body *")].filter(
    (element) =>
      [...element.childNodes].some(
        (node) => node.nodeType === Node.TEXT_NODE && node.data.trim(),
      ) &&
      element.checkVisibility({ opacityProperty: true }) &&
      !element.closest(".unseen, option, [aria-hidden], :disabled, .skip"),
  );
  return shown
    .map((element) => [element.textContent.trim().slice(0, 40), contrast(element)])
    .filter(([, ratio]) => ratio < 4.5);
};
