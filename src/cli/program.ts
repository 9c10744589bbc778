// The program `parley` with its subcommands. This room wires the others together: it alone reads the command
// line and the environment, opens files, and decides on exit codes, and it may import every room. Each
// subcommand has a file; the gateway's wiring in gateway.ts is the best place to see how the parts fit
// together.
import { Command } from 'commander'
import { benchCommand } from './bench.js'
import { canCommand } from './can.js'
import { controllerCommand } from './controller/command.js'
import { crdsCommand } from './crds.js'
import { devCommand } from './dev/command.js'
import { withDocumentedExitCodes } from './exit-codes.js'
import { gatewayCommand } from './gateway.js'
import { tokenCommand } from './token.js'
import { version } from './version.js'

export function createProgram(): Command {
  return withDocumentedExitCodes(new Command('parley'))
    .description('Real-time chat for every team of a Kubernetes cluster.')
    .version(version)
    .addCommand(devCommand())
    .addCommand(gatewayCommand())
    .addCommand(controllerCommand())
    .addCommand(tokenCommand())
    .addCommand(canCommand())
    .addCommand(crdsCommand())
    .addCommand(benchCommand())
    .showHelpAfterError('(parley --help lists the commands)')
}
