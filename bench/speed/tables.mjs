// Formats the result of a scenario as Markdown, for the terminal and for docs/performance.md.

/** @typedef {import('./results.js').Unit} Unit */
/** @typedef {import('./results.js').Target} Target */
/**
 * @typedef {import('./results.js').Result & { rounds: number, machine: { cores: number, processor: string,
 * node: string, date: string, others: number } }} StoredResult
 */

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

/** @param {Target} target */
export function isMet({ is, value, required }) {
  return is === 'atLeast' ? value >= required : value <= required
}

/** @param {StoredResult} result */
export function tablesOf({ targets, columns, conditions, groups, title }) {
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
  const rows = targets.map((target) =>
    line([
      target.metric,
      figure(target.value, target.unit),
      `${target.is === 'atLeast' ? '≥' : '≤'} ${figure(target.required, target.unit)}`,
      isMet(target) ? 'yes' : '**no**',
    ]),
  )
  const targetTable =
    targets.length === 0
      ? []
      : ['', line(['target', 'measured', 'required', 'met']), line(['---', '---:', '---:', '---']), ...rows]
  return [`## ${title}`, '', conditions, ...tables, ...targetTable, ''].join('\n')
}
