// What a scenario found out: printed, and kept beside the others in bench/results, from which docs/performance.md is made.
import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { rounds } from './contest.js'
import { tablesOf } from './tables.mjs'
import { busyShareSince, processorTicks } from './usage.mjs'

const folder = fileURLToPath(new URL('../results/', import.meta.url))

/** What others did on the machine before the scenario began: the share of its processors, 0 to 1. */
const before = processorTicks()
await sleep(2_000)
const others = busyShareSince(before)

export type Unit = 'count' | 'ms' | 'percent' | 'bytes' | 'us' | 'seconds'

export interface Column {
  readonly key: string
  readonly title: string
  readonly unit: Unit
}

/** One subject under one condition: medians, by column. */
export interface Row {
  readonly subject: string
  readonly values: Readonly<Record<string, number>>
}

/** What was to be reached: a ratio unless it has a unit. */
export interface Bar {
  readonly what: string
  readonly value: number
  readonly wanted: number
  readonly is: 'atLeast' | 'atMost'
  readonly unit?: Unit
}

export interface Result {
  readonly title: string
  readonly conditions: string
  readonly columns: readonly Column[]
  readonly groups: readonly { readonly title: string; readonly rows: readonly Row[] }[]
  readonly bars: readonly Bar[]
}

/** `name` is the scenario's file without its ending. */
export async function publishResult(name: string, result: Result): Promise<void> {
  const machine = {
    cores: availableParallelism(),
    processor: cpus()[0]?.model ?? 'unknown',
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
    others: Math.round(others * 100) / 100,
  }
  const whole = { ...result, rounds, machine }
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, `${name}.json`), `${JSON.stringify(whole, undefined, 2)}\n`)
  console.log(`\n${tablesOf(whole)}`)
}
