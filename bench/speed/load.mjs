// A process with a load generator. Each line of its input is a command, and it answers each with one line. It
// is separate from the servers, so that their CPU time contains nothing of the load.
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { mintToken } from '../../dist/auth/mint.js'
import { CentrifugeProtocol } from '../../dist/load/centrifuge-protocol.js'
import { LoadGenerator } from '../../dist/load/load-generator.js'
import { wsProtocol, socketIoProtocol } from './baseline-protocols.mjs'
import { cpuSecondsOf, rssBytesOf } from './usage.mjs'

/** @typedef {import('./load-commands.js').LoadPlan} LoadPlan */
/** @typedef {import('./load-commands.js').LoadCommand} LoadCommand */

/**
 * Limit on the connections of one local address, which has only so many ports. The first address is left to
 * the kernel, which finds a port faster that way.
 */
const connectionsPerAddress = 20_000

/** @type {LoadGenerator | undefined} */
let generator
/** @type {string[]} */
let channelNames = []
/** @type {CentrifugeProtocol | undefined} */
let parley

/** @param {LoadPlan} plan */
async function centrifugeProtocol({ issuer, publishers, subscribers, tenants }) {
  /** @type {string[]} */
  const tokens = []
  for (let index = 0; index < subscribers + publishers; index += 1)
    tokens.push(await mintToken(issuer, { user: `u${index}`, expiresInS: 86_400, nowMs: Date.now() }))
  return new CentrifugeProtocol({
    path: ({ index }) => `/bench/t${index % tenants}`,
    token: ({ index }) => tokens[index] ?? '',
  })
}

/** @param {Extract<LoadCommand, { kind: 'connect' }>} plan */
async function protocolFor(plan) {
  if (plan.protocol === 'ws') return wsProtocol()
  if (plan.protocol === 'socket.io') return socketIoProtocol()
  if (parley) parley.recovers = plan.recovers
  else parley = await centrifugeProtocol(plan)
  return parley
}

/** @param {Extract<LoadCommand, { kind: 'connect' }>} plan */
async function connect(plan) {
  const { connectingMax, channelPrefix, channels, channelsEach, publishers, subscribers, url } = plan
  channelNames = Array.from({ length: channels }, (_, number) => `${channelPrefix}${number}`)
  generator = new LoadGenerator({
    url: new URL(url),
    protocol: await protocolFor(plan),
    subscribers,
    publishers,
    connectingMax,
    channelsOf: (index) =>
      Array.from(
        { length: channelsEach },
        (_, nth) => channelNames[(index * channelsEach + nth) % channels] ?? '',
      ),
    localAddressOf: (index) =>
      index < connectionsPerAddress ? undefined : `127.0.0.${1 + Math.floor(index / connectionsPerAddress)}`,
  })
  const before = parley?.recovered ?? 0
  const report = await measured(plan, () => /** @type {LoadGenerator} */ (generator).connect())
  return { ...report, recovered: (parley?.recovered ?? 0) - before }
}

/**
 * Runs `work` and measures what the servers, Redis and this process used meanwhile. The figures of this
 * process show that it is not the bottleneck.
 * @template Result
 * @param {{ server: readonly number[], redis: readonly number[] }} pids
 * @param {() => Promise<Result>} work
 */
async function measured({ redis, server }, work) {
  const all = [server, redis, [process.pid]]
  const before = all.map(cpuSecondsOf)
  const startedMs = performance.now()
  const result = await work()
  const wallSeconds = (performance.now() - startedMs) / 1000
  const [serverCpu = 0, redisCpu = 0, loadCpu = 0] = all.map(
    (pids, at) => cpuSecondsOf(pids) - (before[at] ?? 0),
  )
  return {
    ...result,
    wallSeconds,
    cpuSeconds: { server: serverCpu, redis: redisCpu, load: loadCpu },
    rssBytes: { server: rssBytesOf(server), redis: rssBytesOf(redis) },
  }
}

/** @param {LoadCommand} command */
async function execute(command) {
  switch (command.kind) {
    case 'connect':
      return connect(command)
    case 'run': {
      const connected = generator
      if (!connected) throw new Error('No client is connected')
      return measured(command, () => connected.run({ ...command, channels: channelNames }))
    }
    case 'idle':
      return measured(command, async () => {
        await sleep(command.seconds * 1000)
        return { connected: generator?.size ?? 0, failures: generator?.failures ?? {} }
      })
    case 'disconnect':
      generator?.disconnect()
      return {}
  }
}

for await (const line of createInterface({ input: process.stdin }))
  console.log(`reply ${JSON.stringify(await execute(JSON.parse(line)))}`)
process.exit()
