/* The child's side of worker/ by itself: it would not link if anything in it needed Redis. */
#include "worker/child.h"

int main(void)
{
    return worker_child_main();
}
