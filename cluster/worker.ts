#!/usr/bin/env node
/**
 * The daemon's program: `multiprocessing-worker`.
 *
 * @module
 */

import { runCommand } from "./daemon/command.ts";
import { programArguments, setExitCode } from "./runtime/host.ts";

setExitCode(await runCommand(programArguments()));
