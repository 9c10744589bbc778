// Writes docs/performance.md and its chart from bench/results, where `npm run bench` leaves what it measured. With --check it writes nothing
// and fails when a file is not current.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tablesOf } from '../bench/speed/tables.mjs'
import { putGenerated } from './generated.mjs'
import { deliveriesChart } from './performance/chart.mjs'
import { closing, introduction } from './performance/words.mjs'
import { root } from './run.mjs'

/** @typedef {import('../bench/speed/tables.mjs').Kept} Kept */

const folder = join(root, 'bench/results')
const order = ['fan-out', 'one-channel', 'publishes', 'idle', 'connects', 'growth']

/** @type {Map<string, Kept>} */
const results = new Map()
for (const file of await readdir(folder)) {
  const name = file.replace(/\.json$/, '')
  if (!order.includes(name)) throw new Error(`bench/results/${file} is of no scenario`)
  results.set(name, JSON.parse(await readFile(join(folder, file), 'utf8')))
}

/** @param {Kept} result */
const where = ({ machine, rounds }) => {
  const { cores, date, node, others, processor } = machine
  const percent = Math.round(others * 100)
  const shared = percent >= 10 ? `of which others used ${percent} % before it began` : 'otherwise idle'
  const doubt =
    percent >= 50
      ? ' **Too busy to judge by:** a server that gets little of the CPU finds more to do in each turn, which flatters whoever shares writes.'
      : ''
  return `${date}, Node ${node}, ${cores} cores (${processor}), ${shared}. Rounds: ${rounds}.${doubt}`
}

const sections = order.flatMap((name) => {
  const result = results.get(name)
  if (!result) return []
  const [heading = '', ...rest] = tablesOf(result).split('\n')
  return [heading, '', `\`npm run bench -- --only ${name}\` · ${where(result)}`, ...rest]
})

/** @type {Record<string, string>} */
const files = { 'docs/performance.md': [introduction, ...sections, closing].join('\n') }
const fanOut = results.get('fan-out')
if (fanOut) files['docs/images/deliveries.svg'] = deliveriesChart(fanOut)

for (const [path, text] of Object.entries(files))
  await putGenerated(path, text, 'node scripts/performance.mjs')
