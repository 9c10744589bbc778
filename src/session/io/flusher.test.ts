import { beforeEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { Flusher, type Flushable } from './flusher.js'
import { turn } from '../session.testing.js'

const beatMs = 50

/** Counts what is written, and when. */
class Pile implements Flushable {
  lastFlushInterval = -1
  waiting = 0
  readonly writes: number[] = []
  readonly #flusher: Flusher

  constructor(flusher: Flusher) {
    this.#flusher = flusher
  }

  push(frames = 1): void {
    if (this.waiting === 0) this.#flusher.add(this)
    this.waiting += frames
  }

  flush(): number {
    const frames = this.waiting
    if (frames > 0) this.writes.push(frames)
    this.waiting = 0
    return frames
  }
}

let clock: ManualClock
let flusher: Flusher
let timers: { delayMs: number; fire: () => void }[]

beforeEach(() => {
  clock = new ManualClock()
  timers = []
  flusher = new Flusher({
    clock,
    after: (delayMs, fire) => {
      const timer = { delayMs, fire }
      timers.push(timer)
      return () => {
        timers = timers.filter((one) => one !== timer)
      }
    },
  })
})

/** As after a beat in which so many frames were written. */
async function after(frames: number): Promise<void> {
  new Pile(flusher).push(frames)
  await turn()
  clock.advance(beatMs)
  new Pile(flusher).push()
  await turn()
}

async function beat(): Promise<void> {
  clock.advance(beatMs)
  const [timer] = timers.splice(0)
  timer?.fire()
  await turn()
}

describe('with little to do', () => {
  test('every turn writes what it brought', async () => {
    await after(1_000)
    const pile = new Pile(flusher)
    for (let turns = 0; turns < 3; turns += 1) {
      pile.push()
      await turn()
    }
    expect(pile.writes).toEqual([1, 1, 1])
    expect(timers).toEqual([])
  })
})

describe('with much to do', () => {
  beforeEach(() => after(2_500))

  test('a socket just written to waits for the beat, and gets all in one write', async () => {
    const pile = new Pile(flusher)
    pile.push()
    await turn()
    clock.advance(10)
    for (let turns = 0; turns < 3; turns += 1) {
      pile.push()
      await turn()
    }
    expect(pile.writes).toEqual([1])
    expect(timers).toMatchObject([{ delayMs: beatMs - 10 }])
    await beat()
    expect(pile.writes).toEqual([1, 3])
  })

  test('a socket that was not written to in this beat goes at once', async () => {
    const [hot, quiet] = [new Pile(flusher), new Pile(flusher)]
    hot.push()
    await turn()
    hot.push()
    quiet.push()
    await turn()
    expect([hot.writes, quiet.writes]).toEqual([[1], [1]])
  })

  test('nobody waits any more from the first quiet beat on', async () => {
    const pile = new Pile(flusher)
    pile.push()
    await turn()
    pile.push()
    await beat()
    for (let turns = 0; turns < 2; turns += 1) {
      pile.push()
      await turn()
    }
    expect(pile.writes).toEqual([1, 1, 1, 1])
  })

  test('it stays so as long as much comes, although it is written later and in fewer writes', async () => {
    const pile = new Pile(flusher)
    for (let beats = 0; beats < 4; beats += 1) {
      pile.push()
      await turn()
      // A beat's worth, of which little has been written when the beat ends.
      pile.push(2_500)
      await beat()
    }
    expect(pile.writes).toEqual([1, 2_500, 2_501, 2_501, 2_501])
  })

  test('a beat that began late is not followed by another at once', async () => {
    const pile = new Pile(flusher)
    pile.push()
    await turn()
    pile.push()
    clock.advance(beatMs)
    // Somebody else's frame begins the beat before its timer does.
    new Pile(flusher).push()
    await turn()
    expect(pile.writes).toEqual([1, 1])
    expect(timers).toEqual([])
  })
})

test.each([
  [50_000, 50],
  [100_000, 60],
  [300_000, 100],
  [900_000, 100],
])('at %i frames a second a beat takes %i ms', async (perSecond, takesMs) => {
  await after((perSecond * beatMs) / 1000)
  const pile = new Pile(flusher)
  pile.push()
  await turn()
  pile.push()
  await turn()
  expect(pile.writes).toEqual([1])
  expect(timers).toMatchObject([{ delayMs: takesMs }])
})
