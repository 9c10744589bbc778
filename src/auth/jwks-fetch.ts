// Fetches one JSON Web Key Set from a URL of a tenant's policy. Nothing about the server at that URL is
// trusted.
import { request as requestHttp, type IncomingMessage, type RequestOptions } from 'node:http'
import { request as requestHttps } from 'node:https'
import { isIP } from 'node:net'
import * as z from 'zod'
import { parseJson } from '../json.js'
import { isPublicAddress, PrivateAddressError, publicLookup } from './address-guard.js'

/**
 * See RFC 7517. The members of a key are not checked here: keys.ts decides for each key whether it can be
 * used.
 */
const JwkSet = z.object({ keys: z.array(z.record(z.string(), z.unknown())).min(1).max(200) })

export const jwksBytesMax = 65_536

export interface FetchOptions {
  /** Allows http and private addresses. */
  readonly allowPrivate: boolean
  /** Aborts the whole fetch: DNS, handshake, request and response. */
  readonly signal: AbortSignal
}

/** The message continues a sentence after "cannot be fetched: ". */
class JwksFetchError extends Error {
  override readonly name = 'JwksFetchError'
}

/**
 * Returns the keys of the set, at least one. Rejects with `JwksFetchError`, `PrivateAddressError`, or a
 * network error.
 */
export async function fetchJwks(
  uri: string,
  options: FetchOptions,
): Promise<readonly Record<string, unknown>[]> {
  const url = checkedUrl(uri, options.allowPrivate)
  const response = await get(url, options)
  try {
    requirePlainResponse(response)
    return parse(await readAll(response))
  } finally {
    response.destroy()
  }
}

function checkedUrl(uri: string, allowPrivate: boolean): URL {
  const url = URL.canParse(uri) ? new URL(uri) : undefined
  if (url?.protocol !== 'https:' && !(allowPrivate && url?.protocol === 'http:')) {
    throw new JwksFetchError('the URL must begin with https://')
  }
  if (url.username !== '' || url.password !== '')
    throw new JwksFetchError('the URL must not hold a user or password')
  const host = url.hostname.replace(/^\[|\]$/g, '')
  // Node does not resolve literal addresses, so `publicLookup` never sees them.
  if (!allowPrivate && isIP(host) !== 0 && !isPublicAddress(host)) {
    throw new PrivateAddressError(`the address ${host} is not public`)
  }
  return url
}

function get(url: URL, { allowPrivate, signal }: FetchOptions): Promise<IncomingMessage> {
  const options: RequestOptions = {
    // A new socket: a pooled one could have been opened to an address that was checked under other rules.
    agent: false,
    signal,
    headers: { accept: 'application/jwk-set+json, application/json', 'accept-encoding': 'identity' },
    ...(allowPrivate ? {} : { lookup: publicLookup }),
  }
  return new Promise((resolve, reject) => {
    const request = url.protocol === 'https:' ? requestHttps(url, options) : requestHttp(url, options)
    request.on('response', resolve)
    request.on('error', reject)
    // An unexpected 101 ends the request without an error event. After a response or an error this has no
    // effect.
    request.on('close', () => reject(new JwksFetchError('the connection ended without an answer')))
    request.end()
  })
}

function requirePlainResponse({ statusCode = 0, headers }: IncomingMessage): void {
  if (statusCode >= 300 && statusCode < 400) {
    throw new JwksFetchError('it answers with a redirect; configure the URL that it leads to')
  }
  if (statusCode !== 200) throw new JwksFetchError(`it answers with status ${statusCode}`)
  const encoding = headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity')
    throw new JwksFetchError('it answers with a compressed body, which was not requested')
}

async function readAll(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength
    if (bytes > jwksBytesMax) throw new JwksFetchError(`the answer is longer than ${jwksBytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function parse(body: Buffer): readonly Record<string, unknown>[] {
  const json = parseJson(body.toString())
  if (json === undefined) throw new JwksFetchError('the answer is not JSON')
  const set = JwkSet.safeParse(json)
  if (!set.success) throw new JwksFetchError('the answer is not a JSON Web Key Set with at least one key')
  return set.data.keys
}
