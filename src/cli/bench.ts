// `parley bench`: measures connects, deliveries and latencies of a running installation from the clients'
// side. Every delivery is counted.
import { Command, InvalidArgumentError } from 'commander'
import { mintToken } from '../auth/mint.js'
import { CentrifugeProtocol } from '../load/centrifuge-protocol.js'
import { LoadGenerator, type ConnectReport } from '../load/load-generator.js'
import type { LatencySummary } from '../load/latencies.js'
import type { RoundReport } from '../load/round.js'
import type { Issuer } from '../tenant/policy.js'
import { systemClock } from '../time.js'
import { badInputExitCode, withDocumentedExitCodes } from './exit-codes.js'
import { readNamedFile } from './files.js'
import { parseCount } from './options.js'

interface BenchOptions {
  readonly connections: number
  readonly channels: number
  readonly channelPrefix: string
  /** Publications per second, by all publishers together. */
  readonly publishRate: number
  readonly payloadBytes: number
  /** Seconds. */
  readonly duration: number
  readonly arriving: number
  readonly token?: string
  readonly secretFile?: string
}

const publishersMax = 64
const payloadBytesMin = 32
/** A delivery that has not arrived this long after the last publication counts as missing. */
const drainMs = 10_000

export function benchCommand(): Command {
  const command = new Command('bench')
    .description(
      'Measure connects, deliveries and latencies of a running gateway or cluster, from one process.',
    )
    .argument('<url>', 'address of a tenant, such as ws://localhost:8000/demo/acme', tenantUrlOf)
    .option('--connections <number>', 'number of subscribers', parseCount, 100)
    .option(
      '--channels <number>',
      'number of channels, over which the subscribers are spread',
      parseCount,
      10,
    )
    .option('--channel-prefix <text>', 'beginning of the channels’ names; a number follows', 'bench:')
    .option('--publish-rate <number>', 'publications per second, over all channels', parseCount, 100)
    .option(
      '--payload-bytes <number>',
      `size of each publication, at least ${payloadBytesMin}`,
      payloadOf,
      128,
    )
    .option('--duration <seconds>', 'time for which it publishes', parseCount, 10)
    .option('--arriving <number>', 'number of connections that are opened at the same time', parseCount, 50)
    .option('--token <token>', 'token for all connections, which then count as one user')
    .option(
      '--secret-file <file>',
      'file with the tenant’s shared key (HS256); each connection is then a user of its own',
    )
  return withDocumentedExitCodes(command).action(async (url: URL, options: BenchOptions) => {
    if (options.token !== undefined && options.secretFile !== undefined)
      command.error('error: give --token or --secret-file, not both', { exitCode: badInputExitCode })
    process.exitCode = (await bench(url, options)) ? 0 : 1
  })
}

/** Resolves with true when every client connected and every publication was delivered. */
async function bench(url: URL, options: BenchOptions): Promise<boolean> {
  const { connections, publishRate } = options
  const channels = Array.from({ length: options.channels }, (_, index) => `${options.channelPrefix}${index}`)
  const publishers = Math.min(channels.length, publishersMax)
  const tokens = await tokensFor(connections + publishers, options)
  const generator = new LoadGenerator({
    url,
    protocol: new CentrifugeProtocol({
      path: () => url.pathname.replace(/\/$/, ''),
      token: ({ index }) => tokens[index] ?? '',
    }),
    subscribers: connections,
    publishers,
    connectingMax: options.arriving,
    channelsOf: (index) => channels.slice(index % channels.length, (index % channels.length) + 1),
  })
  const connectReport = await generator.connect()
  showConnects(connectReport, connections + publishers)
  if (!generator.canPublish) {
    showFailures(connectReport.failures)
    return false
  }
  const round = await generator.run({
    seconds: options.duration,
    pace: { kind: 'rate', perSecond: publishRate },
    payloadBytes: options.payloadBytes,
    channels,
    drainMs,
  })
  showRound(round, generator.failures)
  generator.disconnect()
  const failed = [generator.failures, round.errors].some((counts) => Object.keys(counts).length > 0)
  return !failed && round.missing === 0
}

function showConnects({ latency, deferred, ready, seconds }: ConnectReport, expected: number): void {
  const later = deferred === 0 ? '' : `, ${number(deferred)} attempts were refused with a retry time`
  console.log(`connections  ${number(ready)} of ${number(expected)} in ${seconds.toFixed(1)} s${later}`)
  console.log(`connects/s   ${number(ready / seconds)}   ${spread(latency)}`)
}

function showRound(round: RoundReport, failures: Readonly<Record<string, number>>): void {
  const { replyLatency, replied, delivered, deliveryLatency, missing, expected, published, seconds } = round
  console.log(`publishes    ${number(replied)} of ${number(published)} answered   ${spread(replyLatency)}`)
  console.log(`deliveries   ${number(delivered)} of ${number(expected)}, ${number(missing)} missing`)
  console.log(`deliveries/s ${number(delivered / seconds)}   ${spread(deliveryLatency)}`)
  showFailures(failures, round.errors)
}

/** Prints the number of failures by code. */
function showFailures(...counts: readonly Readonly<Record<string, number>>[]): void {
  const codes = counts.flatMap((count) => Object.entries(count))
  const listed = codes.map(([code, count]) => `${number(count)} × ${code}`).join(', ')
  console.log(`failures     ${listed || 'none'}`)
}

function spread({ maxMs, p50Ms, p99Ms }: LatencySummary): string {
  return `p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms, max ${maxMs.toFixed(1)} ms`
}

function number(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

/**
 * Returns one token for each client. The tokens are empty strings, which connect guests, when neither a token
 * nor a key is given.
 */
async function tokensFor(count: number, { secretFile, token }: BenchOptions): Promise<string[]> {
  if (secretFile === undefined) return Array.from({ length: count }, () => token ?? '')
  const secret = Buffer.from(readNamedFile('key file', secretFile).trimEnd()).toString('base64')
  const issuer: Issuer = {
    name: 'bench',
    algorithms: ['HS256'],
    claims: { user: 'sub', name: 'name', roles: 'roles', info: 'info' },
    key: { type: 'SharedKey', secret, sample: false },
  }
  const nowMs = systemClock.epochMs()
  const users = Array.from({ length: count }, (_, index) => `bench-${index}`)
  return Promise.all(users.map((user) => mintToken(issuer, { user, expiresInS: 86_400, nowMs })))
}

function tenantUrlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url && /^wss?:$/.test(url.protocol) && /^\/[^/]+\/[^/]+\/?$/.test(url.pathname)) return url
  throw new InvalidArgumentError('The address is ws:// or wss://, a host, and /<namespace>/<tenant>.')
}

function payloadOf(text: string): number {
  const bytes = parseCount(text)
  if (bytes >= payloadBytesMin) return bytes
  throw new InvalidArgumentError(`The value is a whole number of at least ${payloadBytesMin}.`)
}
