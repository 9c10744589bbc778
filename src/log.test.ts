import { describe, expect, test } from 'vitest'
import { createLog, limitedLogMs, LimitedLog } from './log.js'

function openLog() {
  const lines: Record<string, unknown>[] = []
  const log = createLog({
    level: 'info',
    name: 'test',
    write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  })
  let nowMs = 0
  const clock = { monotonicMs: () => nowMs }
  return { lines, pass: (ms: number) => void (nowMs += ms), log: new LimitedLog(log, clock) }
}

describe('LimitedLog', () => {
  test('writes one line per key and ten seconds, and the next one counts those left out', () => {
    const { lines, log, pass } = openLog()
    for (let n = 0; n < 500; n += 1) log.warn('acme QUOTA', { tenant: 'acme', n }, 'over quota')
    expect(lines).toMatchObject([{ level: 40, tenant: 'acme', n: 0, msg: 'over quota' }])
    expect(lines[0]).not.toHaveProperty('suppressed')
    pass(limitedLogMs)
    log.warn('acme QUOTA', { tenant: 'acme', n: 500 }, 'over quota')
    expect(lines).toHaveLength(2)
    expect(lines[1]).toMatchObject({ n: 500, suppressed: 499 })
  })

  test('counts each key for itself', () => {
    const { lines, log } = openLog()
    for (const key of ['a', 'b', 'a', 'b']) log.warn(key, { key }, 'failed')
    expect(lines.map(({ key }) => key)).toEqual(['a', 'b'])
  })

  test('counts the errors of one place in the code together, whatever they quote', () => {
    const { lines, log } = openLog()
    for (let n = 0; n < 5; n += 1) log.bug('acme', { err: new Error(`cannot use channel ${n}`) }, 'failed')
    log.bug('acme', { err: new Error('another place') }, 'failed')
    log.bug('beta', { err: 'no error' }, 'failed')
    expect(lines.map(({ err }) => (err as { message?: string }).message)).toEqual([
      'cannot use channel 0',
      'another place',
      undefined,
    ])
  })

  test('remembers a bounded number of keys, the newest ones', () => {
    const { lines, log } = openLog()
    for (let n = 0; n <= 10_000; n += 1) log.warn(`key ${n}`, {}, 'line')
    log.warn('key 10000', {}, 'line')
    expect(lines).toHaveLength(10_001)
    log.warn('key 0', {}, 'line')
    expect(lines).toHaveLength(10_002)
  })
})
