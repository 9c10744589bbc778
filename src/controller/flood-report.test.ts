import { expect, test } from 'vitest'
import { ManualTime } from '../kube/time.testing.js'
import { reportFloods } from './flood-report.js'

/** Runs as many checks as `depths` has entries, one minute apart, and returns the logged fields. */
async function logged(...largest: { group: string; size: number; depth: number }[]): Promise<object[]> {
  const time = new ManualTime()
  const lines: object[] = []
  const ending = new AbortController()
  let check = 0
  const queue = {
    get depth() {
      return largest[check]?.depth ?? 0
    },
    largestGroup: () => largest[check],
  }
  await reportFloods(new Map([['chattenant', queue]]), {
    clock: time,
    log: { warn: (fields: object) => lines.push(fields) } as never,
    signal: ending.signal,
    pause: async () => {
      time.move(60_000)
      check += 1
      if (check === largest.length) ending.abort()
    },
  })
  return lines
}

const flood = { group: 'noisy', size: 900, depth: 1_000 }

test('the namespace that fills a queue is named once in five minutes', async () => {
  const line = { controller: 'chattenant', namespace: 'noisy', keys: 900, depth: 1_000 }
  expect(await logged(flood, flood, flood, flood, flood)).toEqual([line])
  expect(await logged(...Array.from({ length: 6 }, () => flood))).toEqual([line, line])
  expect(await logged(flood, { ...flood, group: 'other' })).toHaveLength(2)
})

test('no namespace is named when the queue is short, or when no namespace has more than half of it', async () => {
  expect(await logged({ group: 'noisy', size: 90, depth: 99 })).toEqual([])
  expect(await logged({ group: 'noisy', size: 500, depth: 1_000 })).toEqual([])
  expect(await logged({ group: '', size: 900, depth: 1_000 }), 'objects without a namespace').toEqual([])
})
