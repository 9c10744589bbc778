import { describe, expect, test } from 'vitest'
import type { Session } from '../../session/session.js'
import { drain } from './drain.js'

/** Sessions, and what happened to them when. */
class Crowd {
  readonly sessions = new Set<Session>()
  readonly departures = new Set<Promise<void>>()
  readonly told = new Map<string, number>()
  readonly closed = new Map<string, number>()
  readonly codes = new Set<number>()
  elapsedMs = 0

  constructor(names: readonly string[]) {
    for (const name of names) this.add(name)
  }

  add(name: string): void {
    const session = {
      adviseReconnect: (afterMs: number) => void this.told.set(name, afterMs),
      close: ({ code }: { code: number }) => {
        if (!this.sessions.delete(session)) return
        this.codes.add(code)
        this.closed.set(name, this.elapsedMs)
      },
    } as unknown as Session
    this.sessions.add(session)
  }

  /** One leaves by itself. */
  leave(): void {
    const [first] = this.sessions
    if (first) this.sessions.delete(first)
  }

  /** `meanwhile` is called at each pause. */
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
  test('closes everybody with 3001', async () => {
    const crowd = new Crowd(names(100))
    await crowd.drain(5_000)
    expect([crowd.sessions.size, crowd.closed.size, [...crowd.codes]]).toEqual([0, 100, [3001]])
  })

  test('closes evenly over the window', async () => {
    const crowd = new Crowd(names(100))
    await crowd.drain(10_000)
    const perSecond = Array.from({ length: 10 }, () => 0)
    for (const atMs of crowd.closed.values()) perSecond[Math.floor(atMs / 1000)]! += 1
    for (const count of perSecond) expect(count).toBeGreaterThanOrEqual(9)
    expect(Math.max(...crowd.closed.values())).toBeLessThan(10_000)
  })

  test('tells each, before the first is closed, when its turn comes', async () => {
    const crowd = new Crowd(names(10))
    const draining = crowd.drain(1_000)
    expect(crowd.told.size).toBe(10)
    await draining
    for (const [name, atMs] of crowd.closed) {
      const said = crowd.told.get(name) ?? Number.NaN
      expect(atMs).toBeGreaterThanOrEqual(said)
      expect(atMs - said).toBeLessThan(100)
    }
  })

  test('keeps its pace when sessions leave meanwhile', async () => {
    const crowd = new Crowd(names(100))
    await crowd.drain(10_000, () => crowd.leave())
    for (const [name, atMs] of crowd.closed) {
      expect(atMs - (crowd.told.get(name) ?? Number.NaN)).toBeLessThan(100)
    }
    expect(crowd.sessions.size).toBe(0)
  })

  test('ends as soon as nobody is left', async () => {
    const crowd = new Crowd(names(3))
    await crowd.drain(60_000, () => crowd.leave())
    expect(crowd.elapsedMs).toBeLessThan(1_000)
  })

  test('also closes who came in while it was under way', async () => {
    const crowd = new Crowd(names(3))
    let late = 0
    await crowd.drain(1_000, () => {
      if (late === 0) crowd.add('late')
      late += 1
    })
    expect(crowd.closed.has('late')).toBe(true)
  })

  test('without a window closes all at once', async () => {
    const crowd = new Crowd(names(50))
    await crowd.drain(0)
    expect([crowd.closed.size, crowd.elapsedMs]).toEqual([50, 0])
  })

  test('of an empty gateway takes no time', async () => {
    const crowd = new Crowd([])
    await crowd.drain(30_000)
    expect(crowd.elapsedMs).toBe(0)
  })
})
