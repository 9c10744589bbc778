// The options of a gateway that limit strangers: clients that are not authenticated yet.
import { type Command, InvalidArgumentError, Option } from 'commander'
import { ConfigError } from '../errors.js'
import { networkProblem } from '../gateway/http/client-address.js'
import { hostProblem } from '../gateway/http/known-hosts.js'
import { defaultRequestRates } from '../gateway/http/plain-requests.js'
import type { GatewayServerOptions } from '../gateway/http/server.js'
import { defaultUnauthenticatedLimits } from '../gateway/http/unauthenticated-sockets.js'
import { defaultHandshakeRates } from '../gateway/http/websocket-endpoints.js'
import { parseCount } from './options.js'

/** Parses a list separated by commas, in which `problemOf` finds no problem. */
function parseList(text: string, problemOf: (entry: string) => string | undefined): string[] {
  const entries = text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
  const problem = entries.map(problemOf).find((sentence) => sentence !== undefined)
  if (problem !== undefined) throw new InvalidArgumentError(problem)
  return entries
}

/** The options about clients that are not authenticated, and about the proxies before the gateway. */
export interface StrangerOptions {
  readonly trustedProxies: readonly string[]
  readonly proxyProtocol: boolean
  readonly publicHosts: readonly string[]
  /** Handshakes per second. */
  readonly handshakeRate: number
  readonly addressHandshakeRate: number
  /** Plain requests per second. */
  readonly requestRate: number
  readonly addressRequestRate: number
  readonly unauthenticatedMax: number
  readonly unauthenticatedPerAddress: number
}

/** The option `--public-hosts`. */
export function publicHostsOption(): Option {
  return new Option(
    '--public-hosts <list>',
    'host names, separated by commas, whose own pages may connect guests; *.example.com stands for all names below it',
  )
    .env('PARLEY_PUBLIC_HOSTS')
    .argParser((text) => parseList(text, hostProblem))
    .default([], 'none')
}

/** Adds the options of `StrangerOptions`. */
export function withStrangerOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--trusted-proxies <list>',
        'addresses and networks of proxies, separated by commas, whose X-Forwarded-For or PROXY header names the client',
      )
        .env('PARLEY_TRUSTED_PROXIES')
        .argParser((text) => parseList(text, networkProblem))
        .default([], 'none'),
    )
    .option(
      '--proxy-protocol',
      'connections from trusted proxies begin with a header of the PROXY protocol, version 2',
      false,
    )
    .addOption(publicHostsOption())
    .option(
      '--handshake-rate <number>',
      'maximum of handshakes per second; further ones get 503',
      parseCount,
      defaultHandshakeRates.perSecond,
    )
    .option(
      '--address-handshake-rate <number>',
      'the same from one client address; further ones get 429',
      parseCount,
      defaultHandshakeRates.perAddress,
    )
    .option(
      '--request-rate <number>',
      'maximum of HTTP requests per second that are neither handshakes nor calls of the server API; further ones get 503',
      parseCount,
      defaultRequestRates.perSecond,
    )
    .option(
      '--address-request-rate <number>',
      'the same from one client address; further ones get 429',
      parseCount,
      defaultRequestRates.perAddress,
    )
    .option(
      '--unauthenticated-max <number>',
      'maximum of connections whose clients are not authenticated yet; further ones are cut',
      parseCount,
      defaultUnauthenticatedLimits.max,
    )
    .option(
      '--unauthenticated-per-address <number>',
      'the same from one client address',
      parseCount,
      defaultUnauthenticatedLimits.perAddress,
    )
}

/**
 * Returns the part of the options that the server for clients takes. @throws ConfigError when one of them
 * would have no effect.
 */
export function serverOptionsOf(options: StrangerOptions): GatewayServerOptions {
  const { proxyProtocol, publicHosts, trustedProxies } = options
  if (proxyProtocol && trustedProxies.length === 0)
    throw new ConfigError([
      '--proxy-protocol needs --trusted-proxies: a header of the PROXY protocol is accepted only from the proxies in that list',
    ])
  return {
    trustedProxies,
    proxyProtocol,
    publicHosts,
    handshakeRates: { perSecond: options.handshakeRate, perAddress: options.addressHandshakeRate },
    requestRates: { perSecond: options.requestRate, perAddress: options.addressRequestRate },
  }
}
