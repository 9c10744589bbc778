// Measures the contrast of the text that a page draws (WCAG 2.2, success criterion 1.4.3).
import type { Page } from 'playwright-core'

/** Returns the visible texts with a contrast below 4.5 : 1, each with its ratio. */
export async function lowContrasts(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    type Colour = readonly [red: number, green: number, blue: number, alpha: number]

    // A canvas parses every CSS colour.
    const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
    const parse = (text: string): Colour => {
      if (!context) throw new Error('no canvas')
      context.clearRect(0, 0, 1, 1)
      context.fillStyle = text
      context.fillRect(0, 0, 1, 1)
      const [red = 0, green = 0, blue = 0, alpha = 0] = context.getImageData(0, 0, 1, 1).data
      return [red, green, blue, alpha / 255]
    }
    const over = (top: Colour, below: Colour): Colour => {
      const mix = (index: 0 | 1 | 2) => top[index] * top[3] + below[index] * (1 - top[3])
      return [mix(0), mix(1), mix(2), 1]
    }
    const background = (element: Element | null): Colour => {
      if (!element) return parse(matchMedia('(prefers-color-scheme: dark)').matches ? 'black' : 'white')
      const own = parse(getComputedStyle(element).backgroundColor)
      return own[3] === 1 ? own : over(own, background(element.parentElement))
    }
    const luminance = (colour: Colour) => {
      const linear = (value: number) =>
        value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4
      return 0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
    }

    const low: string[] = []
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement
      const text = node.textContent?.trim()
      if (!element || !text || !element.checkVisibility({ visibilityProperty: true })) continue
      const below = background(element)
      const ink = over(parse(getComputedStyle(element).color), below)
      const [darker = 0, brighter = 0] = [luminance(ink), luminance(below)].toSorted((a, b) => a - b)
      const ratio = (brighter + 0.05) / (darker + 0.05)
      if (ratio < 4.5) low.push(`${ratio.toFixed(2)} "${text}"`)
    }
    return low
  })
}
