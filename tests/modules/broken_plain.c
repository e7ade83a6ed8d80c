/* A shared object that is no module. */
int nothing_of_celeriac(void);

int nothing_of_celeriac(void)
{
    return 0;
}
