// What is asserted of every page the walk comes to, and the counting of checks.

export const tally = { passed: 0, failed: 0 };

export function check(name, holds, detail = "") {
    if (holds) {
        tally.passed++;
    } else {
        tally.failed++;
        console.log(`${name}: FAILED${detail === "" ? "" : `, ${detail}`}`);
    }
}

// A page of `browser` that notes whatever should not be: requests to elsewhere, dialogs, complaints of the
// browser (which say what the content security policy forbade), errors.
export async function openPage(browser, origin, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    const page = await context.newPage();
    page.troubles = [];
    page.on("request", (request) => {
        if (!request.url().startsWith(`${origin}/`)) page.troubles.push(`request to ${request.url()}`);
    });
    page.on("dialog", (dialog) => {
        page.troubles.push(`dialog ${dialog.message()}`);
        dialog.dismiss();
    });
    // Browsers ask for an icon where no policy forbids it, beside text and JSON.
    page.on("console", (message) => {
        if (!message.location().url.endsWith("/favicon.ico")) page.troubles.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => page.troubles.push(`error: ${error.message}`));
    return page;
}

// Runs in the page: elements that stick out of it, and text that is hard to read on its ground.
function look() {
    const name = (element) => `${element.tagName} ${element.className} ${(element.textContent ?? "").slice(0, 30)}`;
    const scrolls = (element) => element.closest(".scroll, svg") !== null;
    const sticksOut = [...document.body.querySelectorAll("*")].filter(
        (element) => !scrolls(element) && element.getBoundingClientRect().right > innerWidth + 1,
    );
    const canvas = (color) => {
        const parts = color.match(/[\d.]+/g).map(Number);
        return { rgb: parts.slice(0, 3), alpha: parts[3] ?? 1 };
    };
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = canvas(getComputedStyle(at).backgroundColor);
            if (color.alpha > 0) return color.rgb;
        }
        return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255];
    };
    // Relative luminance and contrast as WCAG 2 defines them.
    const light = (rgb) => {
        const [r, g, b] = rgb.map((part) => part / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (one, other) => {
        const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    const hard = [...document.body.querySelectorAll("*")].filter(
        (element) =>
            hasText(element) &&
            element.getClientRects().length > 0 &&
            !["METER", "OPTION", "TITLE", "title"].includes(element.tagName) &&
            contrast(canvas(getComputedStyle(element).color).rgb, ground(element)) < 4.5,
    );
    // Columns so narrow that words fall to pieces.
    const squeezed = [...document.querySelectorAll("th, td")].filter((cell) => {
        const text = document.createRange();
        text.selectNodeContents(cell);
        const { width, height } = text.getBoundingClientRect();
        return height > 60 && height > 2 * width && hasText(cell);
    });
    return {
        squeezed: squeezed.slice(0, 3).map(name),
        overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        sticksOut: sticksOut.slice(0, 3).map(name),
        hard: hard.slice(0, 3).map(name),
        scripts: document.scripts.length,
        handlers: [...document.querySelectorAll("*")].flatMap((element) =>
            [...element.attributes].filter((attribute) => attribute.name.startsWith("on") || /^\s*javascript:/i.test(attribute.value)),
        ).length,
        images: document.images.length,
        ran: window.ran ?? null,
        language: document.documentElement.lang,
        headings: document.querySelectorAll("h1").length,
        unnamed: [...document.querySelectorAll("input:not([type=hidden]), select, button, summary, a")].filter(
            (control) =>
                control.textContent.trim() === "" && !control.ariaLabel && !control.labels?.length,
        ).length,
    };
}

// Asserts what must be so whatever the page shows: nothing runs, nothing comes from elsewhere, nothing sticks
// out at the width of a desk or of a phone, text can be read in light and dark, controls have names.
export async function sound(page, what) {
    for (const [colorScheme, width] of [["light", 1280], ["dark", 1280], ["light", 390]]) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 800 });
        const seen = await page.evaluate(look);
        const where = `${what} (${colorScheme}, ${width} wide)`;
        check(`${where}: fits its width`, seen.overflow <= 0 && seen.sticksOut.length === 0,
            `${seen.overflow} px too wide, ${JSON.stringify(seen.sticksOut)}`);
        check(`${where}: no column is squeezed`, seen.squeezed.length === 0, JSON.stringify(seen.squeezed));
        check(`${where}: contrast`, seen.hard.length === 0, JSON.stringify(seen.hard));
        check(`${where}: no script`, seen.scripts === 0 && seen.handlers === 0 && seen.ran === null, JSON.stringify(seen));
        check(`${where}: no image`, seen.images === 0);
        check(`${where}: language, one heading, named controls`,
            seen.language === "en" && seen.headings === 1 && seen.unnamed === 0, JSON.stringify(seen));
    }
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1280, height: 800 });
    check(`${what}: nothing unexpected`, page.troubles.length === 0, page.troubles.join("; "));
    page.troubles.length = 0;
}
