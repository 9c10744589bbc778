// Draws the chart of docs/performance.md: deliveries per second of CPU time, for each rate and subject. It is
// readable on a light and on a dark page.

/** @typedef {import('../../bench/speed/tables.mjs').StoredResult} StoredResult */

const width = 860
const left = 236
const right = 150
const barHeight = 18
const barGap = 7
const groupGap = 44
const top = 92

const style = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #57606a }
  .title { font-size: 19px; font-weight: 600; fill: #1f2328 }
  .group { font-weight: 600; fill: #1f2328 }
  .value { font-variant-numeric: tabular-nums; fill: #1f2328 }
  .page { fill: #ffffff; stroke: #d0d7de }
  .track { fill: #f0f3f6 }
  .ours { fill: #0a7f5a } .memory { fill: #63c7a3 } .baseline { fill: #8c959f } .theirs { fill: #d29922 }
  .mark { stroke: #57606a; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 } .title, .group, .value { fill: #f0f6fc }
    .page { fill: #0d1117; stroke: #3d444d } .track { fill: #1b222b }
    .ours { fill: #2fbf8f } .memory { fill: #1d7a5c } .baseline { fill: #6e7681 } .mark { stroke: #9198a1 }
  }`

/** @param {string} subject */
function kindOf(subject) {
  if (subject.startsWith('Socket.IO')) return 'theirs'
  if (!subject.startsWith('Parley')) return 'baseline'
  return subject.includes('memory') ? 'memory' : 'ours'
}

/** @param {StoredResult} result */
export function deliveriesChart({ conditions, groups, machine }) {
  const values = groups.flatMap(({ rows }) => rows.map((row) => row.values['perCpuSecond'] ?? 0))
  const scale = (width - left - right) / Math.max(...values)
  /** @type {string[]} */
  const shapes = []
  let y = top
  for (const { rows, title } of groups) {
    const baseline = rows.find(({ subject }) => kindOf(subject) === 'baseline')?.values['perCpuSecond'] ?? 0
    shapes.push(`<text class="group" x="28" y="${y}">${title}</text>`)
    y += 14
    const begin = y
    for (const { subject, values: row } of rows) {
      const value = row['perCpuSecond'] ?? 0
      const bar = Math.max(2, value * scale)
      const times =
        baseline > 0 && kindOf(subject) !== 'baseline' ? `  ${(value / baseline).toFixed(1)} ×` : ''
      const label = `${Math.round(value / 1000)}k${times}`
      const middle = y + barHeight - 5
      shapes.push(
        `<text x="${left - 12}" y="${middle}" text-anchor="end">${subject}</text>`,
        `<rect class="track" x="${left}" y="${y}" width="${width - left - right}" height="${barHeight}" rx="4"/>`,
        `<rect class="${kindOf(subject)}" x="${left}" y="${y}" width="${bar.toFixed(1)}" height="${barHeight}" rx="4"/>`,
        `<text class="value" x="${(left + bar + 8).toFixed(1)}" y="${middle}" xml:space="preserve">${label}</text>`,
      )
      y += barHeight + barGap
    }
    const mark = (left + baseline * scale).toFixed(1)
    shapes.push(`<line class="mark" x1="${mark}" x2="${mark}" y1="${begin - 4}" y2="${y - barGap + 4}"/>`)
    y += groupGap - barGap
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" role="img" aria-label="Deliveries per second of the server’s CPU time">`,
    `<style>${style}\n</style>`,
    `<rect class="page" x="0.5" y="0.5" width="${width - 1}" height="${y - 1}" rx="10"/>`,
    `<text class="title" x="28" y="38">Deliveries per second of the server’s CPU time</text>`,
    `<text x="28" y="60">${conditions.split('. ')[0]}. Dashed line: the bare loop of the same run.</text>`,
    ...shapes,
    `<text x="28" y="${y - 16}">Node ${machine.node}, ${machine.date}. Longer is better.</text>`,
    '</svg>',
    '',
  ].join('\n')
}
