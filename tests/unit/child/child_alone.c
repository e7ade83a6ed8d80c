/* The child's side of worker/ by itself: it would not link if anything in it needed Redis. */
#include "child/child.h"

int main(void)
{
    return child_main();
}
