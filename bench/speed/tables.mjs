// A scenario's result as Markdown: for the terminal and for docs/performance.md.

/** @typedef {import('./results.js').Unit} Unit */
/** @typedef {import('./results.js').Bar} Bar */
/** @typedef {import('./results.js').Result & { rounds: number, machine: { cores: number, processor: string, node: string, date: string, others: number } }} Kept */

/** @param {number} value @param {Unit | undefined} unit undefined: a ratio */
export function figure(value, unit) {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  const text = value.toLocaleString('en-US', { maximumFractionDigits: unit === 'count' ? 0 : digits })
  switch (unit) {
    case undefined:
      return `${value.toFixed(2)} ×`
    case 'percent':
      return `${value.toFixed(0)} %`
    case 'bytes':
      return `${(value / 1024).toFixed(1)} KiB`
    case 'us':
      return `${text} µs`
    case 'ms':
      return `${text} ms`
    case 'seconds':
      return `${text} s`
    case 'count':
      return text
  }
}

/** @param {readonly string[]} cells */
const line = (cells) => `| ${cells.join(' | ')} |`

/** @param {Bar} bar */
export function isMet({ is, value, wanted }) {
  return is === 'atLeast' ? value >= wanted : value <= wanted
}

/** @param {Kept} result */
export function tablesOf({ bars, columns, conditions, groups, title }) {
  const tables = groups.flatMap((group) => [
    '',
    line([group.title, ...columns.map((column) => column.title)]),
    line(['---', ...columns.map(() => '---:')]),
    ...group.rows.map(({ subject, values }) =>
      line([
        subject,
        ...columns.map(({ key, unit }) => (key in values ? figure(values[key] ?? 0, unit) : '')),
      ]),
    ),
  ])
  const judged = bars.map((bar) =>
    line([
      bar.what,
      figure(bar.value, bar.unit),
      `${bar.is === 'atLeast' ? '≥' : '≤'} ${figure(bar.wanted, bar.unit)}`,
      isMet(bar) ? 'yes' : '**no**',
    ]),
  )
  const verdict =
    bars.length === 0
      ? []
      : ['', line(['bar', 'reached', 'wanted', 'met']), line(['---', '---:', '---:', '---']), ...judged]
  return [`## ${title}`, '', conditions, ...tables, ...verdict, ''].join('\n')
}
