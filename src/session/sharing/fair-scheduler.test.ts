import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { FairScheduler, quantumMs, turnMs } from './fair-scheduler.js'
import { WorkQueue, type Work } from './work-queue.js'

/** A scheduler whose turns the test runs. Each step advances the clock by its cost. */
function fixture() {
  const clock = new ManualClock()
  const turns: (() => void)[] = []
  const errors: unknown[] = []
  const done: string[] = []
  const scheduler = new FairScheduler({
    clock,
    onError: (error) => void errors.push(error),
    defer: (run) => void turns.push(run),
  })
  /** Work of some steps, each of which takes `stepMs`. */
  const work = (name: string, { steps = 1, stepMs = 0.1 } = {}): Work => {
    let left = steps
    return {
      step() {
        clock.advance(stepMs)
        left -= 1
        if (left === 0) done.push(name)
        return left > 0
      },
    }
  }
  /** Runs the next turn. Returns false when none is scheduled. */
  const turn = (): boolean => {
    const [run] = turns.splice(0, 1)
    run?.()
    return run !== undefined
  }
  const runAll = (): void => {
    while (turn());
  }
  return { clock, done, errors, runAll, scheduler, turn, turns, work }
}

describe('a gateway that is not busy', () => {
  test('runs work immediately', () => {
    const { done, scheduler, work } = fixture()
    const queue = new WorkQueue()
    scheduler.run(queue, work('a'))
    scheduler.run(queue, work('b'))
    expect(done).toEqual(['a', 'b'])
  })

  test('runs nothing in later turns', () => {
    const { runAll, scheduler, turns, work } = fixture()
    scheduler.run(new WorkQueue(), work('a'))
    runAll()
    expect(turns).toEqual([])
  })

  test('runs all steps of one work, also when they take several turns', () => {
    const { done, runAll, scheduler, work } = fixture()
    scheduler.run(new WorkQueue(), work('long', { steps: 100 }))
    expect(done).toEqual([])
    runAll()
    expect(done).toEqual(['long'])
  })
})

describe('a tenant that has used its time', () => {
  test('waits, while another runs immediately', () => {
    const { done, scheduler, work } = fixture()
    const [a, b] = [new WorkQueue(), new WorkQueue()]
    for (let n = 0; n < 100; n += 1) scheduler.run(a, work('a'))
    const before = done.length
    expect(before).toBeLessThan(15)
    scheduler.run(b, work('b'))
    expect(done.slice(before)).toEqual(['b'])
  })

  test('does not use more than one turn before sockets are read again', () => {
    const { clock, scheduler, turn, work } = fixture()
    const a = new WorkQueue()
    for (let n = 0; n < 100; n += 1) scheduler.enqueue(a, work('a'))
    const startMs = clock.monotonicMs()
    turn()
    expect(clock.monotonicMs() - startMs).toBeLessThanOrEqual(Math.max(turnMs, quantumMs) + 0.2)
  })

  test('pays with its next turns for a step that took long', () => {
    const { done, scheduler, turn, work } = fixture()
    const [a, b] = [new WorkQueue(), new WorkQueue()]
    scheduler.enqueue(a, work('a', { stepMs: 5 * quantumMs }))
    scheduler.enqueue(a, work('a again'))
    for (let n = 0; n < 60; n += 1) scheduler.enqueue(b, work('b'))
    for (let turns = 0; turns < 4; turns += 1) turn()
    expect(done).not.toContain('a again')
    expect(done.filter((name) => name === 'b').length).toBeGreaterThan(10)
  })

  test('pays for what its work causes outside of its steps, in proportion to its steps', () => {
    const { clock, scheduler, turn, work } = fixture()
    const [a, b] = [new WorkQueue(), new WorkQueue()]
    scheduler.run(a, work('a', { stepMs: 0.3 }))
    scheduler.run(b, work('b', { stepMs: 0.01 }))
    // Replies, promises and sockets.
    clock.advance(3)
    turn()
    expect([scheduler.hasCredit(a), scheduler.hasCredit(b)]).toEqual([false, true])
    let turns = 1
    for (; !scheduler.hasCredit(a); turns += 1) turn()
    expect(turns).toBeGreaterThan(4)
    expect(turns).toBeLessThan(10)
  })

  test('does not pay for the time in which the gateway is idle', () => {
    const { clock, runAll, scheduler, work } = fixture()
    const [a, b] = [new WorkQueue(), new WorkQueue()]
    for (let n = 0; n < 5; n += 1) {
      scheduler.enqueue(a, work('a'))
      scheduler.enqueue(b, work('b'))
      runAll()
      clock.advance(25)
    }
    scheduler.run(a, work('a'))
    runAll()
    expect([scheduler.hasCredit(a), scheduler.hasCredit(b)]).toEqual([true, true])
  })

  test('comes out of its debt, however long the turns take', () => {
    const { clock, done, scheduler, turn, work } = fixture()
    const [a, b] = [new WorkQueue(), new WorkQueue()]
    scheduler.run(b, work('b'))
    scheduler.run(a, work('a', { stepMs: 5 }))
    scheduler.enqueue(a, work('a again'))
    for (let turns = 0; turns < 40; turns += 1) {
      clock.advance(50)
      turn()
    }
    expect(done).toContain('a again')
  })

  test('alone on the gateway does not wait for anybody', () => {
    const { clock, scheduler, turn, work } = fixture()
    const queue = new WorkQueue()
    scheduler.run(queue, work('a'))
    clock.advance(50)
    turn()
    expect(scheduler.hasTime(queue)).toBe(true)
  })

  test('pays for work that it did elsewhere', () => {
    const { scheduler, turn, work } = fixture()
    const [queue, other] = [new WorkQueue(), new WorkQueue()]
    scheduler.charge(queue, 3 * quantumMs)
    expect(scheduler.hasCredit(queue)).toBe(false)
    turn()
    expect(scheduler.hasCredit(queue)).toBe(false)
    for (let turns = 0; turns < 2; turns += 1) {
      scheduler.enqueue(other, work('other'))
      turn()
    }
    expect(scheduler.hasCredit(queue)).toBe(true)
  })
})

test('a step that throws ends its work, and the others run', () => {
  const { done, errors, runAll, scheduler, work } = fixture()
  const queue = new WorkQueue()
  const error = new Error('broken')
  scheduler.enqueue(queue, {
    step() {
      throw error
    },
  })
  scheduler.enqueue(queue, work('next'))
  runAll()
  expect([errors, done]).toEqual([[error], ['next']])
})

test('work that a step gives comes after that work', () => {
  const { done, runAll, scheduler, work } = fixture()
  const queue = new WorkQueue()
  const outer = work('outer', { steps: 3 })
  let given = false
  scheduler.run(queue, {
    step() {
      const isUnfinished = outer.step()
      if (!given) scheduler.enqueue(queue, work('inner'))
      given = true
      return isUnfinished
    },
  })
  runAll()
  expect(done).toEqual(['outer', 'inner'])
})

const works = fc.array(
  fc.record({
    tenant: fc.nat(3),
    steps: fc.integer({ min: 1, max: 6 }),
    stepMs: fc.double({ min: 0.01, max: 2, noNaN: true }),
    inline: fc.boolean(),
    turnBefore: fc.boolean(),
  }),
  { maxLength: 80 },
)

test('nothing is lost, and the work of each tenant keeps its order', () => {
  fc.assert(
    fc.property(works, (given) => {
      const { done, runAll, scheduler, turn, work } = fixture()
      const queues = [0, 1, 2, 3].map(() => new WorkQueue())
      given.forEach(({ inline, steps, stepMs, tenant, turnBefore }, index) => {
        if (turnBefore) turn()
        const queue = queues[tenant] ?? new WorkQueue()
        const one = work(`${tenant} ${index}`, { steps, stepMs })
        if (inline) scheduler.run(queue, one)
        else scheduler.enqueue(queue, one)
      })
      runAll()
      for (const tenant of [0, 1, 2, 3]) {
        const expected = given.flatMap((one, index) => (one.tenant === tenant ? [`${tenant} ${index}`] : []))
        expect(done.filter((name) => name.startsWith(`${tenant} `))).toEqual(expected)
      }
    }),
  )
})

test('tenants that always have work get equal time, whatever a step of theirs costs', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.01, max: 3, noNaN: true }), { minLength: 2, maxLength: 6 }),
      (costs) => {
        const { clock, scheduler, turn } = fixture()
        const used = costs.map(() => 0)
        costs.forEach((stepMs, tenant) => {
          scheduler.enqueue(new WorkQueue(), {
            step() {
              clock.advance(stepMs)
              used[tenant] = (used[tenant] ?? 0) + stepMs
              return true
            },
          })
        })
        for (let turns = 0; turns < 2_000; turns += 1) turn()
        const slack = 2 * (Math.max(...costs) + quantumMs)
        // A thousandth for what the sums of fractions lose.
        expect(Math.max(...used) - Math.min(...used)).toBeLessThanOrEqual(slack * 1.001)
      },
    ),
    { numRuns: 30 },
  )
})
