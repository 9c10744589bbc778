// The pages that `parley dev` serves besides the tenants' endpoints: the chat page, tokens for it, and the
// operators' pages.
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { z } from 'zod'
import { mintToken } from '../../auth/mint.js'
import { CommandError } from '../../errors.js'
import { sendError, sendJson } from '../../gateway/http/http-errors.js'
import { readBody } from '../../gateway/http/read-body.js'
import type { Gateway } from '../../gateway/gateway.js'
import { handleOpsRequest, isOpsPath } from '../../gateway/http/ops.js'
import type { ExtraPages } from '../../gateway/http/plain-requests.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { suggestedRooms } from './tenants.js'

const files: Readonly<Record<string, { file: string; type: string }>> = {
  '/': { file: 'index.html', type: 'text/html; charset=utf-8' },
  '/page.js': { file: 'page.js', type: 'text/javascript; charset=utf-8' },
  '/page.css': { file: 'page.css', type: 'text/css; charset=utf-8' },
  '/favicon.svg': { file: 'favicon.svg', type: 'image/svg+xml' },
}

/** Allows the page its own script and style, and sockets to its own server, and nothing else. */
const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const TokenRequest = z.strictObject({
  tenant: z.string().max(130),
  user: z.string().min(1).max(128),
  claims: z.record(z.string(), z.unknown()).optional(),
})

const tokenTtlS = 3600
const bodyBytesMax = 8 * 1024

/** Makes the request handler. `webFolder` is the URL of the built page's folder, with a slash at the end. */
export function devPages(gateway: Gateway, options: { webFolder: URL }): ExtraPages {
  // Read once: a page of this machine is not the only one that asks for them.
  const assets = new Map<string, Buffer>()
  return async (request, response) => {
    const [path = ''] = (request.url ?? '').split('?')
    const asset = files[path]
    if (asset && request.method === 'GET') {
      const body = assets.get(path) ?? (await readFile(new URL(asset.file, options.webFolder)))
      assets.set(path, body)
      response.writeHead(200, {
        'content-type': asset.type,
        'content-length': body.byteLength,
        'cache-control': 'no-cache',
        'content-security-policy': contentSecurityPolicy,
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
      })
      response.end(body)
      return true
    }
    const isDevPath = path === '/dev/tenants' || path === '/dev/token'
    if (!isDevPath && !isOpsPath(path)) return false
    if (!isFromThisMachine(request)) {
      sendError(
        response,
        new CommandError(
          'PERMISSION_DENIED',
          'This page is available only on the machine that Parley runs on, at localhost',
        ),
      )
      return true
    }
    if (!isDevPath) await handleOpsRequest(gateway, { request, response }, { statsNames: true })
    else if (path === '/dev/tenants') sendJson(response, 200, [...gateway.tenants].map(describe))
    else await answerToken(gateway, request, response)
    return true
  }
}

/**
 * Checks the address and the requested host name: another site's name may resolve to this machine (DNS
 * rebinding).
 */
function isFromThisMachine(request: IncomingMessage): boolean {
  const address = request.socket.remoteAddress ?? ''
  const isLoopback = address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.')
  const host = (request.headers.host ?? '').replace(/:\d+$/, '')
  return isLoopback && (host === 'localhost' || host === '[::1]' || host.startsWith('127.'))
}

function describe(tenant: TenantRuntime): unknown {
  const { policy } = tenant
  return {
    tenant: tenant.key,
    displayName: policy.displayName ?? tenant.key,
    guests: tenant.tokens.allowsGuests,
    rooms: suggestedRooms(policy),
  }
}

async function answerToken(
  gateway: Gateway,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'POST') throw new CommandError('METHOD_NOT_ALLOWED', 'Request a token with POST')
  // A page of another origin cannot send this type without a preflight request, which is never answered with
  // a permission.
  if (!request.headers['content-type']?.startsWith('application/json')) {
    throw new CommandError('BAD_REQUEST', 'Send application/json')
  }
  const parsed = TokenRequest.safeParse(await readJson(request))
  if (!parsed.success) throw new CommandError('BAD_REQUEST', 'Send {"tenant", "user", "claims"?}')
  const { claims, tenant: key, user } = parsed.data
  const tenant = gateway.tenant(key)
  if (!tenant) throw new CommandError('NOT_FOUND', `There is no tenant ${key} here`)
  const issuer = tenant.policy.issuers.find(
    (candidate) => candidate.key.type === 'SharedKey' && candidate.key.sample,
  )
  if (!issuer) {
    throw new CommandError(
      'NOT_AVAILABLE',
      `The page signs tokens only with sample keys, and ${key} has none: print a token with "parley token --tenant ${key} --user ${user}"`,
    )
  }
  const token = await mintToken(issuer, {
    user,
    claims: claims ?? {},
    expiresInS: tokenTtlS,
    nowMs: Date.now(),
  })
  sendJson(response, 200, { token })
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const body = await readBody(request, { bytesMax: bodyBytesMax })
  try {
    return JSON.parse(body.toString())
  } catch {
    throw new CommandError('INVALID_JSON', 'The body is not JSON')
  }
}
