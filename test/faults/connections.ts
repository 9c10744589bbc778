// Faults 13 to 17: what can befall the connections between a gateway and Redis, and a Redis that answers with errors.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Fault } from './masters.js'
import { World } from './world.js'

const patience = { deadlineMs: 30_000 }

export const connectionFaults: readonly Fault[] = [
  {
    number: 13,
    words: 'connections are cut between the execution and the reply: one entry for each key',
    short: true,
    run: async (fault) => {
      const world = await World.open({ fault, trio: { proxied: true } })
      const { proxy } = await world.trio.master()
      world.strike()
      for (let cut = 0; cut < 4; cut += 1) {
        proxy?.set({ holdToClient: true })
        await sleep(200)
        proxy?.cut()
        proxy?.heal()
        await world.someAcks(30, patience.deadlineMs)
      }
      await world.pause()
      await world.judge()
    },
  },
  {
    number: 15,
    words: 'the subscriber connections go silent, half-open: found, and the gap filled',
    short: true,
    run: async (fault) => {
      const world = await World.open({ fault, trio: { proxied: true } })
      const { proxy } = await world.trio.master()
      const lines = world.gateways.map(({ broker }) => broker.links.get('subscriber')?.current)
      const startMs = performance.now()
      world.strike()
      // What runs now falls silent; what is opened afterwards speaks, so that the finding alone decides.
      proxy?.silence(/parley-subscriber/)
      await Promise.all(
        lines.map(
          (live) =>
            new Promise<void>((resolve) => {
              if (!live || live.lost.aborted) return resolve()
              live.lost.addEventListener('abort', () => resolve(), { once: true })
            }),
        ),
      )
      await world.found(performance.now() - startMs)
      await world.someAcks(50)
      await world.judge({ gapBarMs: 10_000 })
    },
  },
]
