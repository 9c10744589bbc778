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
    'host names, separated by commas; a page of one of them may connect guests to the gateway at the same host name; *.example.com stands for all names below it',
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
      'number of WebSocket handshakes that the gateway accepts per second; it refuses further ones with 503',
      parseCount,
      defaultHandshakeRates.perSecond,
    )
    .option(
      '--address-handshake-rate <number>',
      'number of WebSocket handshakes that the gateway accepts per second from one client address; it refuses further ones with 429',
      parseCount,
      defaultHandshakeRates.perAddress,
    )
    .option(
      '--request-rate <number>',
      'number of HTTP requests that the gateway accepts per second, without handshakes and calls of the server API; it refuses further ones with 503',
      parseCount,
      defaultRequestRates.perSecond,
    )
    .option(
      '--address-request-rate <number>',
      'number of such HTTP requests that the gateway accepts per second from one client address; it refuses further ones with 429',
      parseCount,
      defaultRequestRates.perAddress,
    )
    .option(
      '--unauthenticated-max <number>',
      'number of connections that may be open without an authenticated client; the gateway closes further ones at once',
      parseCount,
      defaultUnauthenticatedLimits.max,
    )
    .option(
      '--unauthenticated-per-address <number>',
      'number of connections that one client address may have open without an authenticated client; the gateway closes further ones at once',
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
