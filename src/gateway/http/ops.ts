// The pages for operators: liveness, readiness, metrics and usage of this gateway.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { CommandError } from '../../errors.js'
import { sendError, sendJson } from './http-errors.js'
import type { Gateway } from '../gateway.js'

const opsPaths = new Set(['/metrics', '/metrics/tenants', '/healthz', '/readyz', '/stats'])

export function isOpsPath(path: string): boolean {
  return opsPaths.has(path)
}

export interface OpsOptions {
  /**
   * True: `/stats` also names the channels with the most subscribers. Names of channels often contain names
   * of users, and the port has no authentication. Default: false.
   */
  readonly statsNames?: boolean
}

/**
 * Answers `/metrics`, `/metrics/tenants`, `/healthz`, `/readyz` and `/stats`, and any other path with 404.
 */
export async function handleOpsRequest(
  gateway: Gateway,
  { request, response }: { readonly request: IncomingMessage; readonly response: ServerResponse },
  options: OpsOptions,
): Promise<void> {
  const [path = ''] = (request.url ?? '').split('?')
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return sendError(response, new CommandError('METHOD_NOT_ALLOWED', `${path} supports only GET`))
  }
  switch (path) {
    case '/healthz':
      return sendJson(response, 200, { status: 'alive' })
    case '/readyz': {
      const reasons = gateway.unreadyReasons()
      const warnings = gateway.warnings()
      return sendJson(response, reasons.length === 0 ? 200 : 503, {
        ready: reasons.length === 0,
        reasons,
        ...(warnings.length > 0 && { warnings }),
      })
    }
    case '/stats':
      return sendJson(response, 200, { ...stats(gateway, options), cluster: await gateway.readCluster() })
    case '/metrics':
    case '/metrics/tenants': {
      const { registry } = path === '/metrics' ? gateway.metrics : gateway.tenantMetrics
      const text = await registry.metrics()
      response.writeHead(200, {
        'content-type': registry.contentType,
        'content-length': Buffer.byteLength(text),
      })
      response.end(text)
      return
    }
    default:
      return sendError(
        response,
        new CommandError(
          'NOT_FOUND',
          `There is no page at ${path}. Available pages: ${[...opsPaths].join(', ')}`,
        ),
      )
  }
}

interface TenantStats {
  connections: number
  connections_max: number
  guests: number
  guests_max: number
  /** Channels in use on all gateways, as last known. */
  channels: number
  channels_max: number
  /** What the tenant's histories occupy in Redis, the same on all gateways. */
  stored_bytes: number
  stored_bytes_max: number
  users: number
  publications: number
  deliveries: number
  bytes_out: number
  refusals: Record<string, number>
  /** Requests above a limit, by the name of the limit. */
  limit_excesses: Record<string, number>
  /**
   * The number of subscribers on this gateway by channel, most subscribers first, at most `roomsMax`. Only
   * with `statsNames`.
   */
  rooms?: Record<string, number>
  rooms_total: number
}

const roomsMax = 100

function stats(gateway: Gateway, { statsNames = false }: OpsOptions): object {
  const tenants: Record<string, TenantStats> = {}
  for (const tenant of gateway.tenants) {
    const rooms = [...tenant.channels.subscribedChannels()]
    tenants[tenant.key] = {
      connections: tenant.quota.connections,
      connections_max: tenant.policy.limits.connections.max,
      guests: tenant.quota.guests,
      guests_max: tenant.quota.guestsMax,
      channels: tenant.quota.channelsByAll,
      channels_max: tenant.policy.limits.channels.max,
      stored_bytes: gateway.context.broker.storage.storedBytes(tenant.policy.tenantId) ?? 0,
      stored_bytes_max: tenant.policy.limits.retention.storedBytes,
      users: tenant.quota.users,
      publications: tenant.quota.counters.publicationsTotal,
      deliveries: tenant.quota.counters.deliveriesTotal,
      bytes_out: tenant.quota.counters.bytesOutTotal,
      refusals: Object.fromEntries(tenant.quota.counters.refusals),
      limit_excesses: Object.fromEntries(tenant.quota.counters.excesses),
      ...(statsNames && {
        rooms: Object.fromEntries(rooms.toSorted(([, a], [, b]) => b - a).slice(0, roomsMax)),
      }),
      rooms_total: rooms.length,
    }
  }
  return {
    connections: gateway.context.sessions.size,
    unauthenticated_connections: gateway.unauthenticatedSockets.total,
    unauthenticated_connections_of_one_address: gateway.unauthenticatedSockets.largest,
    subscriptions: gateway.hub.subscriptions,
    channels: gateway.hub.channels,
    draining: gateway.draining,
    uptime_seconds: Math.round(process.uptime()),
    tenants,
  }
}
