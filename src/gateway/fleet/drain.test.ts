import { describe, expect, test } from 'vitest'
import type { OpenSession } from '../../session/context.js'
import { drain } from './drain.js'

/** Fake sessions that record when they are advised and closed. */
class FakeSessions {
  readonly sessions = new Set<OpenSession>()
  readonly pendingLeaves = new Set<Promise<void>>()
  readonly advised = new Map<string, number>()
  readonly closed = new Map<string, number>()
  readonly codes = new Set<number>()
  elapsedMs = 0

  constructor(names: readonly string[]) {
    for (const name of names) this.add(name)
  }

  add(name: string): void {
    const session = {
      adviseReconnect: (afterMs: number) => void this.advised.set(name, afterMs),
      close: ({ code }: { code: number }) => {
        if (!this.sessions.delete(session)) return
        this.codes.add(code)
        this.closed.set(name, this.elapsedMs)
      },
    } as unknown as OpenSession
    this.sessions.add(session)
  }

  /** Removes one session, as when its client disconnects. */
  leave(): void {
    const [first] = this.sessions
    if (first) this.sessions.delete(first)
  }

  /** Drains with a simulated clock. `meanwhile` is called at each pause. */
  drain(windowMs: number, meanwhile: () => void = () => {}): Promise<void> {
    return drain(this, {
      windowMs,
      sleep: async (ms) => {
        this.elapsedMs += ms
        meanwhile()
      },
    })
  }
}

const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `s${index}`)

describe('drain', () => {
  test('closes all sessions with 3001', async () => {
    const fakes = new FakeSessions(names(100))
    await fakes.drain(5_000)
    expect([fakes.sessions.size, fakes.closed.size, [...fakes.codes]]).toEqual([0, 100, [3001]])
  })

  test('closes the sessions evenly over the window', async () => {
    const fakes = new FakeSessions(names(100))
    await fakes.drain(10_000)
    const perSecond = Array.from({ length: 10 }, () => 0)
    for (const atMs of fakes.closed.values()) perSecond[Math.floor(atMs / 1000)]! += 1
    for (const count of perSecond) expect(count).toBeGreaterThanOrEqual(9)
    expect(Math.max(...fakes.closed.values())).toBeLessThan(10_000)
  })

  test('advises each session of its turn before it closes the first', async () => {
    const fakes = new FakeSessions(names(10))
    const draining = fakes.drain(1_000)
    expect(fakes.advised.size).toBe(10)
    await draining
    for (const [name, atMs] of fakes.closed) {
      const advisedMs = fakes.advised.get(name) ?? Number.NaN
      expect(atMs).toBeGreaterThanOrEqual(advisedMs)
      expect(atMs - advisedMs).toBeLessThan(100)
    }
  })

  test('keeps its pace when sessions leave during the drain', async () => {
    const fakes = new FakeSessions(names(100))
    await fakes.drain(10_000, () => fakes.leave())
    for (const [name, atMs] of fakes.closed) {
      expect(atMs - (fakes.advised.get(name) ?? Number.NaN)).toBeLessThan(100)
    }
    expect(fakes.sessions.size).toBe(0)
  })

  test('ends as soon as no session is left', async () => {
    const fakes = new FakeSessions(names(3))
    await fakes.drain(60_000, () => fakes.leave())
    expect(fakes.elapsedMs).toBeLessThan(1_000)
  })

  test('also closes sessions that were added during the drain', async () => {
    const fakes = new FakeSessions(names(3))
    let late = 0
    await fakes.drain(1_000, () => {
      if (late === 0) fakes.add('late')
      late += 1
    })
    expect(fakes.closed.has('late')).toBe(true)
  })

  test('closes all sessions at once without a window', async () => {
    const fakes = new FakeSessions(names(50))
    await fakes.drain(0)
    expect([fakes.closed.size, fakes.elapsedMs]).toEqual([50, 0])
  })

  test('takes no time for an empty gateway', async () => {
    const fakes = new FakeSessions([])
    await fakes.drain(30_000)
    expect(fakes.elapsedMs).toBe(0)
  })
})
