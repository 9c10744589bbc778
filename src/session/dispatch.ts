// From a command to the file that answers it.
import { CommandError, unreachable } from '../errors.js'
import { closeCodes } from '../protocol/codes.js'
import type { Command, ReplyRef } from '../protocol/commands.js'
import { connect } from './commands/connect.js'
import { publish } from './commands/publish.js'
import { history, presence, presenceStats } from './commands/query.js'
import { refresh, refreshSubscription } from './commands/refresh.js'
import type { Session } from './session.js'
import { subscribe, unsubscribe } from './commands/subscribe.js'

/** Answers through `session.reply`, or throws a CommandError; what else it throws is a bug. */
export function dispatch(session: Session, command: Command, ref: ReplyRef): Promise<void> | void {
  switch (command.kind) {
    case 'connect':
      return connect(session, command, ref)
    case 'subscribe':
      return subscribe(session, command, ref)
    case 'unsubscribe':
      return unsubscribe(session, command, ref)
    case 'publish':
      return publish(session, command, ref)
    case 'presence':
      return presence(session, command, ref)
    case 'presenceStats':
      return presenceStats(session, command, ref)
    case 'history':
      return history(session, command, ref)
    case 'refresh':
      return refresh(session, command, ref)
    case 'subRefresh':
      return refreshSubscription(session, command, ref)
    case 'rpc':
      throw new CommandError('NOT_AVAILABLE', `No procedure "${command.method}": this server has none`)
    case 'send':
      return session.close(closeCodes.notAvailable)
    default:
      return unreachable(command)
  }
}
