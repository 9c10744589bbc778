// Prints the result of a scenario and stores it in bench/results, from which docs/performance.md is
// generated.
import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { rounds } from './comparison.js'
import { tablesOf } from './tables.mjs'
import { busyShareSince, processorTicks } from './usage.mjs'

const folder = fileURLToPath(new URL('../results/', import.meta.url))

/** The share of the processors that other programs used before the scenario began, 0 to 1. */
const before = processorTicks()
await sleep(2_000)
const others = busyShareSince(before)

export type Unit = 'count' | 'ms' | 'percent' | 'bytes' | 'us' | 'seconds'

export interface Column {
  readonly key: string
  readonly title: string
  readonly unit: Unit
}

/** The figures of one subject: medians by the key of their column. */
export interface Row {
  readonly subject: string
  readonly values: Readonly<Record<string, number>>
}

/** A target of the scenario. Its values are ratios unless it has a unit. */
export interface Target {
  readonly metric: string
  readonly value: number
  readonly required: number
  readonly is: 'atLeast' | 'atMost'
  readonly unit?: Unit
}

export interface Result {
  readonly title: string
  readonly conditions: string
  readonly columns: readonly Column[]
  readonly groups: readonly { readonly title: string; readonly rows: readonly Row[] }[]
  readonly targets: readonly Target[]
}

/** `name` is the name of the scenario's file without `.bench.ts`. */
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
