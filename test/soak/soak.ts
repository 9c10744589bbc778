// The soak: load, faults and hostile clients, mixed for as long as wanted. Once a minute it prints the memory
// and the handles of the gateways, and what the clients of the two well-behaved tenants got.
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Random } from '../support/random.js'
import { endRedisProcesses } from '../support/redis-processes.js'
import { attacks, type Target } from './hostile.js'
import { SoakRig } from './rig.js'

const minutes = Number(process.env['PARLEY_SOAK_MINUTES'] ?? 60)
const seed = Number(process.env['PARLEY_SOAK_SEED'] ?? 1)

const attacksAtOnce = 3
const stepMs = 20_000
const sampleMs = 60_000
/** The growth of a gateway's heap after the warm-up, in bytes after a collection. */
const heapGrowthMax = 64 * 1_048_576
const warmUpSteps = 9

const megabytes = (bytes: number): string => `${Math.round(bytes / 1_048_576)} MB`

test(`a soak of ${minutes} minutes with seed ${seed}`, { timeout: (minutes + 30) * 60_000 }, async () => {
  const random = new Random(seed)
  const rig = await SoakRig.start()
  const { load } = rig.scenario
  const names = Object.keys(attacks)
  const faults = Object.entries(rig.faults)
  const endMs = performance.now() + minutes * 60_000
  let warm: number[] = []
  let sampledMs = performance.now()
  try {
    for (let step = 0; performance.now() < endMs; step += 1) {
      const chosen = Array.from({ length: attacksAtOnce }, () => random.pick(names))
      const stop = new AbortController()
      // Each request and pause of an attack listens to the signal.
      setMaxListeners(0, stop.signal)
      const running = chosen.map(async (name, index) => {
        const target: Target = {
          get port() {
            return rig.gateways[(step + index) % rig.gateways.length]?.port ?? 0
          },
          token: (user) => rig.tenants.token('green', user),
        }
        await attacks[name]?.(target, stop.signal)
      })
      const [fault, run] = faults[step % (2 * faults.length)] ?? []
      await sleep(stepMs / 2)
      await run?.()
      await sleep(stepMs / 2)
      stop.abort()
      await Promise.all(running)
      await rig.scenario.waitForAcks(20, 120_000)
      console.log(`step ${step}: ${[...chosen, fault].filter(Boolean).join('; ')}`)
      if (step === warmUpSteps) {
        await rig.withoutStrangers()
        warm = (await rig.usage()).map(({ heapBytes }) => heapBytes)
      }
      if (performance.now() - sampledMs < sampleMs) continue
      const usage = await rig.usage()
      const waitsMs = load.acked
        .filter(({ ackedMs = 0 }) => ackedMs > sampledMs)
        .map(({ ackedMs = 0, sentMs }) => ackedMs - sentMs)
        .toSorted((a, b) => a - b)
      const quantile = (part: number): number => Math.round(waitsMs[Math.floor(waitsMs.length * part)] ?? 0)
      sampledMs = performance.now()
      console.log(
        `  acknowledged ${load.acked.length}, of the last minute p50 ${quantile(0.5)} ms, ` +
          `p99 ${quantile(0.99)} ms; refused ${JSON.stringify(load.failures())}; ` +
          `connections lost ${rig.losses}`,
      )
      for (const [index, one] of usage.entries())
        console.log(
          `  gateway ${index}: resident ${megabytes(one.residentBytes)}, heap ${megabytes(one.heapBytes)}, ` +
            `sessions ${one.sessions}, sockets ${one.sockets}, timers ${one.timers}, channels ${one.channels}`,
        )
    }
    await rig.withoutStrangers()
    const usage = await rig.usage()
    for (const [index, { heapBytes }] of usage.entries()) {
      console.log(
        `gateway ${index}: heap ${megabytes(heapBytes)} at the end, ${megabytes(warm[index] ?? 0)} warm`,
      )
      if (warm[index] !== undefined) expect(heapBytes).toBeLessThan(warm[index] + heapGrowthMax)
    }
    // Temporary errors are repeated with the same key. Every other refusal would be a quota of a tenant that
    // stays far below its limits.
    const refused = Object.keys(load.failures()).filter((code) => !temporaryWithoutKey.has(code))
    expect(refused).toEqual([])
    for (const gateway of rig.gateways) {
      expect(gateway.alive).toBe(true)
      expect(await gateway.bugs()).toBe(0)
    }
    await rig.scenario.verify({ gapTargetMs: 10_000, unmeasured: true })
  } finally {
    await rig.scenario.close()
    await endRedisProcesses()
  }
})

/** What a publish without a key may end with when a master or its gateway goes away. */
const temporaryWithoutKey = new Set([
  'NOT_REPLICATED',
  'BROKER_UNAVAILABLE',
  'CONNECTION_LOST',
  // The numbers of the SDK: timeout, client disconnected, connection closed, server errors.
  '1',
  '2',
  '11',
  '100',
  '503',
])
