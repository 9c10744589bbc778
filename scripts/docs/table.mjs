// Markdown tables for the generated pages.

export const generatedNote =
  '<!-- Written by `npm run docs` from the code. Do not edit: a test compares. -->\n'

/**
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
export function table(head, rows) {
  const line = (/** @type {readonly string[]} */ cells) => `| ${cells.map(escape).join(' | ')} |`
  return [line(head), `| ${head.map(() => '---').join(' | ')} |`, ...rows.map(line), ''].join('\n')
}

const escape = (/** @type {string} */ cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')
